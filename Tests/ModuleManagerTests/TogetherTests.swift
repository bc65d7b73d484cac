import Bigref
import Foundation
import ModuleManager
import Quiescence
import Synchronization
import TestSupport
import Testing

/// Several modules that are unloaded at once.
@Suite struct TogetherTests {
  let manager = ModuleManager()
  let folder = ModuleFolder()

  /// Files that differ in the name of their module.
  private static func files(_ count: Int) throws -> [String] {
    let path = SampleModules.custom(
      "crowd-000",
      """
      static void last(void *argument) { free(argument); }
      static int hook(void *argument, void *context) {
        (void)context;
        struct argument *a = argument;
        a->calls += 1;
        if (host->acquire(self) == 0) host->release(self);
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) { return host->retire(self, last, malloc(16)); }
      """, ".init = init, .exit = leave")
    let image = try Data(contentsOf: URL(filePath: path))
    let place = try #require(image.range(of: Data("crowd-000\0".utf8)))
    return try (0..<count).map { index in
      var copy = image
      copy.replaceSubrange(place, with: Data("crowd-\(String(1000 + index).dropFirst())\0".utf8))
      let file = SampleModules.folder.appending(path: "crowd-\(UUID().uuidString).so")
      try copy.write(to: file)
      return file.path
    }
  }

  /// However many they are, they wait as often as one: for readers, for the last put in the
  /// modules' own code, and for what each `exit` retired.
  @Test func hundredUnloadsShareTheirWaits() async throws {
    // Where a thread does not run for a while, an `exit` is taken for a stuck one, and the others
    // do not wait for its module.
    let manager = ModuleManager(patience: nil)
    let point = HookPoint<SampleModules.Argument, Memb>(
      "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
    manager.provide(point)
    let files = try Self.files(100)
    var waits: [[TraceEvent.Kind]] = []
    for count in [1, 100, 1, 100] {
      var names: [String] = []
      for file in files.prefix(count) { names.append(try await manager.load(path: file).name) }
      var argument = SampleModules.Argument()
      #expect(point.dispatch(&argument).called == count && argument.calls == count)
      let trace = manager.trace(capacity: 1 << 13)
      let unloads = try await manager.unload(together: names)
      let (events, lost) = trace.read()
      #expect(lost == 0)
      waits.append(Self.waits(events))
      trace.stop()
      #expect(unloads.map(\.module).sorted() == names.sorted())
      for unload in unloads { #expect(try unload.result.get().isUnmapped) }
      for file in files.prefix(count) { #expect(!isMapped(file)) }
    }
    #expect(waits == [[TraceEvent.Kind]](repeating: [.readers, .readers, .callbacks], count: 4))
    #expect(manager.list().isEmpty)
  }

  /// What was waited for, one after the other: those that begin before any of them has ended are
  /// one wait.
  private static func waits(_ events: [TraceEvent]) -> [TraceEvent.Kind] {
    var waits: [TraceEvent.Kind] = []
    var waiting = 0
    for event in events where event.kind == .readers || event.kind == .callbacks {
      if event.phase == .begin && waiting == 0 { waits.append(event.kind) }
      waiting += event.phase == .begin ? 1 : -1
    }
    return waits
  }

  private func loadChain() async throws {
    await folder.add("base")
    await folder.add("middle", #"QUIESCENT_DEPENDS("base");"#)
    await folder.add("top", #"QUIESCENT_DEPENDS("middle,base");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("top")
  }

  private func described(_ unloads: [ModuleUnload]) -> [String] {
    unloads.map { unload in
      switch unload.result {
      case .success(.unloaded): "\(unload.module): unloaded"
      case .success(let outcome): "\(unload.module): \(outcome)"
      case .failure(let error): error.description
      }
    }
  }

  @Test func dependentsAreUnloadedFirst() async throws {
    try await loadChain()
    let unloads = try await manager.unload(together: ["base", "top", "nowhere", "middle", "top"])
    #expect(
      described(unloads) == [
        "nowhere: no such module is loaded (ENOENT)", "top: unloaded", "middle: unloaded", "base: unloaded",
      ])
    #expect(manager.list().isEmpty)
    #expect(try await manager.unload(together: []).isEmpty)
  }

  /// What cannot go keeps what it needs, and no other.
  @Test func usedModuleStaysWithItsDependencies() async throws {
    try await loadChain()
    try await manager.load(path: SampleModules.publishing("used"))
    try await manager.load(path: SampleModules.publishing("unused"))
    let object = try manager.open("used-object", holder: "client 1")
    let first = try await manager.unload(together: ["base", "middle", "used", "unused"])
    #expect(
      described(first).sorted() == [
        "base: needed by middle, top (EWOULDBLOCK)", "middle: needed by top (EWOULDBLOCK)",
        "unused: unloaded",
        "used: in use: client 1 holds object used-object (EBUSY)",
      ])
    #expect(manager.list().map(\.name) == ["base", "middle", "top", "used"])
    #expect(manager.list().allSatisfy { $0.state == .live })
    object.close()
    #expect(try await manager.unload(together: manager.list().map(\.name)).count == 4)
    #expect(manager.list().isEmpty)
  }

  @Test func refusingModuleKeepsItsDependencies() async throws {
    await folder.add("ground")
    let path = SampleModules.custom(
      "grudging",
      """
      QUIESCENT_DEPENDS("ground");
      static int asked;
      static int init(const struct quiescent_host *h, struct quiescent_self *s) { (void)h, (void)s; return 0; }
      static int leave(void) { return asked++ == 0 ? -EBUSY : 0; }
      """, ".init = init, .exit = leave")
    try manager.setDirectory(folder.path)
    try await manager.request("ground")
    try await manager.load(path: path)
    let refused = try await manager.unload(together: ["ground", "grudging"])
    #expect(refused.map(\.module) == ["grudging", "ground"])
    #expect(described(refused)[1] == "ground: needed by grudging (EWOULDBLOCK)")
    #expect(manager.list().map(\.state) == [.live, .cleanup])
    #expect(
      described(try await manager.unload(together: ["ground", "grudging"])) == [
        "grudging: unloaded", "ground: unloaded",
      ])
  }

  /// A module that waits for a user holds up the modules that it needs, and no others.
  @Test func othersAreUnloadedWhileOneWaits() async throws {
    await folder.add("floor")
    let path = SampleModules.publishing("roof", #"QUIESCENT_DEPENDS("floor");"#)
    try manager.setDirectory(folder.path)
    try await manager.request("floor")
    try await manager.load(path: path)
    try await manager.load(path: SampleModules.publishing("garage"))
    let object = try manager.open("roof-object", holder: "client 1")
    let events = manager.events()
    let manager = manager
    async let unloads = manager.unload(together: ["floor", "roof", "garage"], ifBusy: .wait)
    for await event in events where event.module == "garage" && event.state == .gone { break }
    #expect(manager.list().map(\.state) == [.live, .going])
    object.close()
    #expect(described(try await unloads) == ["garage: unloaded", "roof: unloaded", "floor: unloaded"])
  }

  @Test func limitEndsTheWaitOfAllModules() async throws {
    let names = ["wait1", "wait2"]
    var objects: [OpenObject] = []
    for name in names {
      try await manager.load(path: SampleModules.publishing(name))
      objects.append(try manager.open("\(name)-object", holder: "client"))
    }
    let late = try await manager.unload(together: names, ifBusy: .wait, within: .milliseconds(2))
    #expect(late.map { $0.result.error?.errno } == [ETIMEDOUT, ETIMEDOUT])
    #expect(manager.list().map(\.state) == [.live, .live])

    let cancellation = WaitCancellation()
    cancellation.cancel()
    let manager = manager
    let cancelled = await onThread {
      try? manager.unload(together: names, ifBusy: .wait, within: .seconds(600), cancelledBy: cancellation)
    }
    #expect(cancelled?.map { $0.result.error?.errno } == [EINTR, EINTR])

    let events = manager.events()
    let task = Task { try await manager.unload(together: names, ifBusy: .wait) }
    for await event in events where event.state == .going { break }
    task.cancel()
    #expect(try await task.value.map { $0.result.error?.errno } == [ECANCELED, ECANCELED])
    #expect(manager.list().map(\.state) == [.live, .live])
    for object in objects { object.close() }
    #expect(try await manager.unload(together: names).count == 2)
    #expect(manager.list().isEmpty)
  }

  /// Each by its own scheme, in one call, with users that come and go.
  @Test func everySchemeAtOnce() async throws {
    let point = Guest.point()
    manager.provide(point)
    let names = UnloadScheme.all.map { "of-\($0.name)" }
    for (name, scheme) in zip(names, UnloadScheme.all) {
      try await manager.load(path: Guest.file(name), scheme: scheme)
    }
    let manager = manager
    let isOver = Shared(Atomic<Bool>(false))
    async let wrong = onThread {
      var wrong = 0
      while !isOver.value.load(ordering: .acquiring) {
        var packet = Guest.Argument(.pause)
        let result = point.dispatch(&packet)
        if Int(packet.calls) != result.called { wrong += 1 }
      }
      return wrong
    }
    let unloads = try await manager.unload(together: names, ifBusy: .wait)
    isOver.value.store(true, ordering: .releasing)
    #expect(await wrong == 0)
    for unload in unloads { #expect(try unload.result.get().isUnmapped, "\(unload)") }
    #expect(manager.list().isEmpty)
  }

  /// A call that is inside one of them keeps them all from their exits.
  @Test func callInProgressIsWaitedFor() async throws {
    let point = Guest.point()
    manager.provide(point)
    let lines = Lines()
    manager.setLog { module, line in lines.add("\(module): \(line)") }
    for name in ["inside", "beside"] { try await manager.load(path: Guest.file(name)) }
    let flags = HookFlags()
    async let caller = onThread {
      var argument = Guest.Argument(.wait, flags: flags.address)
      return point.dispatch(&argument).called
    }
    while !flags.isInside { await Task.yield() }
    let events = manager.events()
    let manager = manager
    async let unloads = manager.unload(together: ["inside", "beside"], ifBusy: .wait)
    for await event in events where event.state == .going { break }
    // For an unload that does not wait to get on: what the test shows does not depend on it.
    try await Task.sleep(for: .milliseconds(30))
    #expect(manager.list().map(\.state) == [.going, .going])
    flags.letGo()
    #expect(await caller == 2)
    for unload in try await unloads { #expect(try unload.result.get().isUnmapped) }
    #expect(lines.all.isEmpty, "\(lines.all)")
  }

  @Test func unloadTogetherInsideASectionIsEDEADLK() async throws {
    try await manager.load(path: SampleModules.publishing("inner"))
    let manager = manager
    let error = await onThread {
      Memb.read { _ in
        do throws(ModuleError) {
          try manager.unload(together: ["inner", "other"])
          return nil as String?
        } catch { return error.description }
      }
    }
    #expect(
      error
        == "inner, other: requested inside a read-side critical section, for which it would wait (EDEADLK)")
    try await manager.unload("inner")
  }
}

extension Result {
  fileprivate var error: Failure? { if case .failure(let error) = self { error } else { nil } }
}
