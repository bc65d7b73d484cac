import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// References under labels.
@Suite struct LabelTests {
  /// Returns the `ModuleHost` of a built-in module.
  private func host(_ manager: ModuleManager, _ name: String) async throws -> ModuleHost {
    let host = Shared(Locked<ModuleHost?>(nil))
    try await manager.load(
      BuiltInModule(name) { given in
        host.value.withLock { $0 = given }
        return 0
      })
    return try #require(host.value.withLock { $0 })
  }

  @Test(arguments: UnloadScheme.all)
  func busyUnloadNamesEveryHolder(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    let host = try await host(manager, "held")
    #expect(host.acquire(for: "session a") && host.acquire(for: "session b"))
    #expect(host.acquire(for: "session a") && host.acquire())
    let here = try #require(host.acquireHere())
    #expect(here == "\(#fileID):\(#line - 1)")
    let busy = await moduleError { try await manager.unload("held") }
    #expect(busy?.errno == scheme.busyErrno)
    let holders = Dictionary(uniqueKeysWithValues: (busy?.holders ?? []).map { ($0.label, $0.count) })
    #expect(holders == ["session a": 2, "session b": 1, here: 1, "reference": 1])
    for label in ["session a", "session a", "session b", here] { host.release(for: label) }
    #expect(manager.list().first { $0.name == "held" }?.holders.map(\.label) == ["reference"])
    host.release()
    _ = try await manager.unload("held", ifBusy: .wait)
  }

  /// In hooks of a module in C: a label of its own, and the place of the call.
  @Test func modulesInCUseLabels() async throws {
    let (manager, point) = try await Self.loadLabeled()
    var argument = SampleModules.Argument()
    _ = point.dispatch(&argument)
    let busy = await moduleError { try await manager.unload("labeled") }
    let holders = try #require(busy?.holders)
    #expect(holders.map(\.count) == [1, 1] && holders.last?.label == "by name")
    let place = try #require(holders.first?.label.split(separator: "/").last)
    #expect(place.contains(".c:") && Int(place.split(separator: ":").last ?? "") != nil)
    argument.cookie = 1
    _ = point.dispatch(&argument)
    try await manager.unload("labeled")
  }

  /// A module that was built for a longer structure than its host has tests the size first.
  @Test func moduleUsesOnlyTheFieldsOfAnOlderHost() async throws {
    let (manager, point) = try await Self.loadLabeled()
    var argument = SampleModules.Argument()
    argument.cookie = 2
    _ = point.dispatch(&argument)
    let busy = await moduleError { try await manager.unload("labeled") }
    #expect(busy?.holders == [ModuleHolder(label: "reference", count: 2)])
    argument.cookie = 3
    _ = point.dispatch(&argument)
    try await manager.unload("labeled")
  }

  /// The hook takes two references, and releases them for the cookie 1. For 2 and 3 it treats its
  /// host as one of an older version.
  private static func loadLabeled() async throws -> (
    manager: ModuleManager, point: HookPoint<SampleModules.Argument, Memb>
  ) {
    // A file of its own: several tests compile it at the same time.
    let path = SampleModules.build(
      "labeled-\(UUID().uuidString)",
      """
      static struct quiescent_host older;
      static const char *place;
      static int hook(void *argument, void *context) {
        (void)context;
        struct argument *a = argument;
        const struct quiescent_host *h = a->cookie < 2 ? host : &older;
        switch (a->cookie) {
        case 0:
        case 2:
          if (QUIESCENT_ACQUIRE_HERE(h, self, place) != 0) abort();
          if (quiescent_acquire_for(h, self, "by name") != 0) abort();
          break;
        default:
          quiescent_release_for(h, self, "by name");
          quiescent_release_for(h, self, place);
        }
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        memset(&older, 0xee, sizeof older);
        memcpy(&older, h, offsetof(struct quiescent_host, acquire_for));
        older.size = offsetof(struct quiescent_host, acquire_for);
        if (!QUIESCENT_HOST_HAS(h, release_for) || QUIESCENT_HOST_HAS(&older, acquire_for)) return -EINVAL;
        if (h->acquire_for(s, NULL) != -EINVAL) return -EINVAL;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return 0; }
      QUIESCENT_MODULE(.name = "labeled", .init = init, .exit = leave)
      """)
    let manager = ModuleManager()
    let point = HookPoint<SampleModules.Argument, Memb>(
      "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
    manager.provide(point)
    try await manager.load(path: path)
    return (manager, point)
  }

  @Test func moduleReleaseUnderALabelWithoutReferenceTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let manager = ModuleManager()
      try await manager.load(
        BuiltInModule("trapping") { host in
          _ = host.acquire(for: "holder")
          host.release(for: "another")
          return 0
        })
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(text.contains("module trapping: released by \"another\", which holds no reference"))
  }
}
