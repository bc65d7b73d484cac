import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Errors say what exists, and events say why.
@Suite struct RefusalTests {
  private static func error(
    _ call: String, points: [String] = ["point"], _ prepare: (ModuleManager) async throws -> Void = { _ in }
  ) async throws -> String? {
    let manager = ModuleManager()
    for name in points {
      manager.provide(
        HookPoint<SampleModules.Argument, Memb>(
          name, argumentType: SampleModules.argumentType, flavor: Memb.self))
    }
    try await prepare(manager)
    let path = SampleModules.build(
      "refused-\(UUID().uuidString)",
      """
      static int hook(void *argument, void *context) { (void)argument, (void)context; return 0; }
      static long look(void *context, char *buffer, size_t size, uint64_t offset) {
        (void)context, (void)buffer, (void)size, (void)offset;
        return 0;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)hook, (void)look; \(call) }
      static int leave(void) { return 0; }
      QUIESCENT_MODULE(.name = "refused", .init = init, .exit = leave)
      """)
    return await moduleError { try await manager.load(path: path) }?.description
  }

  private static func register(_ point: String, _ type: String = SampleModules.argumentType) -> String {
    "return h->register_hook(s, \"\(point)\", \"\(type)\", 0, hook, NULL);"
  }

  @Test func missingHookPointNamesTheNearestAndAll() async throws {
    let prefix = "refused: its init failed: there is no hook point 'incomming'; "
    #expect(
      try await Self.error(Self.register("incomming"), points: ["outgoing", "incoming", "timer"])
        == prefix + "nearest is 'incoming'; there are 'incoming', 'outgoing', 'timer' (ENOENT)")
    #expect(
      try await Self.error(Self.register("incomming"), points: ["incoming"])
        == prefix + "there is 'incoming' (ENOENT)")
    #expect(try await Self.error(Self.register("incomming"), points: []) == prefix + "there is none (ENOENT)")
    // One that has nothing in common with it is no suggestion.
    #expect(
      try await Self.error(Self.register("incomming"), points: ["a", "b"])
        == prefix + "there are 'a', 'b' (ENOENT)")
    let many = try await Self.error(Self.register("p1x"), points: (0..<20).map { "p\($0)" })
    #expect(many?.contains("nearest is 'p1'; there are 'p0', 'p1', 'p10', ") == true)
    #expect(many?.hasSuffix(" and 12 more (ENOENT)") == true)
    // An empty name, and one without an end in sight.
    #expect(
      try await Self.error(Self.register(""))?.hasSuffix("hook point ''; there is 'point' (ENOENT)") == true)
    let long = String(repeating: "x", count: 4000)
    #expect(
      try await Self.error(Self.register(long), points: ["a", "b"])?.hasSuffix("'a', 'b' (ENOENT)") == true)
  }

  @Test func wrongTypeNamesBoth() async throws {
    #expect(
      try await Self.error(Self.register("point", "other.argument.2"))
        == "refused: its init failed: hook point 'point' passes '\(SampleModules.argumentType)', "
        + "not 'other.argument.2' (EPROTOTYPE)")
  }

  @Test func nameThatIsTakenNamesItsModule() async throws {
    let text = try await Self.error("return h->publish(s, \"owner-object\", look, NULL);") { manager in
      try await manager.load(path: SampleModules.publishing("owner"))
    }
    #expect(
      text == "refused: its init failed: object 'owner-object' is published by module 'owner' (EEXIST)")
    #expect(
      try await Self.error("return h->publish(s, \"a b\", look, NULL);")
        == "refused: its init failed: 'a b' is no name: letters, digits, '_', '-' and '.' (EINVAL)")
  }

  /// What the host refused belongs to the error only if `init` returned that.
  @Test func otherErrorOfInitIsToldAlone() async throws {
    #expect(
      try await Self.error(Self.register("other").replacing("return", with: "(void)") + " return -EIO;")
        == "refused: its init failed (EIO)")
    #expect(
      try await Self.error("return 7;")
        == "refused: its init returned 7, neither 0 nor a negative errno (EINVAL)")
  }

  @Test func exitThatReturnsANumberIsToldWithIt() async throws {
    let scene = Misbehavior()
    try await scene.manager.load(path: Misbehavior.module("seven", exit: "return 7;"))
    #expect(
      await scene.unloadError("seven", ifBusy: .fail)?.description
        == "seven: its exit returned 7, neither 0 nor a negative errno; its interfaces are down, unload it again (EINVAL)"
    )
  }

  @Test func moduleThatWasLoadedToStayIsToldSo() async throws {
    let scene = Misbehavior()
    try await scene.manager.load(path: Misbehavior.module("kept"), policy: ModulePolicy(isPermanent: true))
    #expect(
      await scene.unloadError("kept", ifBusy: .fail)?.description
        == "kept: permanent: it was loaded to stay (EBUSY)")
  }

  // MARK: - Events

  @Test func eventsHaveReasonAndTime() async throws {
    let scene = Misbehavior()
    let events = scene.manager.events()
    let path = Misbehavior.module(
      "told", exit: "static int calls; return calls++ ? 0 : -EBUSY;", members: ", .version = \"3.1\"")
    let status = try await scene.manager.load(path: path)
    _ = await scene.unloadError("told", ifBusy: .fail)
    try await scene.manager.unload("told")
    var seen: [ModuleEvent] = []
    for await event in events {
      seen.append(event)
      if event.state == .gone { break }
    }
    #expect(seen.map(\.state) == [.coming, .live, .going, .cleanup, .going, .gone])
    #expect(seen.map(\.previous) == [.unformed, .coming, .live, .going, .cleanup, .going])
    #expect(seen.allSatisfy { $0.version == "3.1" && $0.path == path && $0.duration >= .zero })
    #expect(seen.allSatisfy { $0.addresses == status.addresses })
    #expect(seen.map(\.errno) == [nil, nil, nil, EBUSY, nil, nil])
    #expect(seen[3].description.hasPrefix("told 3.1 is cleanup after "))
    #expect(seen[3].description.contains(" ms in going: its exit refused; its interfaces are down"))
    #expect(seen[3].description.hasSuffix(" (EBUSY)"))
    #expect(seen[1].description.hasPrefix("told 3.1 is live after ") && seen[1].reason == nil)
  }

  @Test func eventOfAFailedInitHasItsError() async throws {
    let scene = Misbehavior()
    let events = scene.manager.events()
    _ = await moduleError {
      try await scene.manager.load(path: Misbehavior.module("failing", initialize: "return -EIO;"))
    }
    for await event in events where event.state == .going {
      #expect(event.reason == "its init failed" && event.errno == EIO)
      break
    }
  }
}
