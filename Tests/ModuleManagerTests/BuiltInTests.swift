import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Modules without an image. They differ only in that nothing is unmapped.
@Suite struct BuiltInTests {
  @Test(arguments: UnloadScheme.all)
  func builtInModuleLivesLikeAnImage(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let exits = Counter()
    let refusals = Counter(1)
    let module = BuiltInModule(
      "swift", version: "1",
      start: { host in
        let error = host.register(on: point) { argument in
          argument.calls += 1
          return .accept
        }
        return error != 0
          ? error : host.publish("swift-object") { offset, _ in offset == 0 ? Array("hi".utf8) : [] }
      },
      exit: {
        exits.add(1)
        return refusals.add(-1) == 0 ? -EBUSY : 0
      })
    let status = try await manager.load(module)
    #expect(status.state == .live && status.path.isEmpty && status.size == 0)
    #expect(await moduleError { try await manager.load(module) }?.errno == EEXIST)
    var argument = Guest.Argument()
    #expect(point.dispatch(&argument).called == 1)
    let object = try manager.open("swift-object", holder: "client")
    #expect(try object.read(from: 0, upTo: 10) == Array("hi".utf8))
    #expect(await moduleError { try await manager.unload("swift") }?.errno == scheme.busyErrno)
    object.close()
    #expect(await moduleError { try await manager.unload("swift") }?.errno == EBUSY)
    #expect(manager.list().first?.state == .cleanup)
    guard case .unloaded(let report) = try await manager.unload("swift") else {
      Issue.record("not unloaded")
      return
    }
    #expect(report.image == nil && !report.unmapped)
    #expect(exits.value == 2)
    #expect(point.dispatch(&argument).called == 0)
    #expect(manager.list().isEmpty)
  }

  @Test(arguments: UnloadScheme.all)
  func closuresOfABuiltInModuleAreFreed(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme, isPatient: true)
    let alive = Counter()
    try await load(manager, point, Tracked(1, alive: alive))
    #expect(alive.value == 1)
    _ = try await manager.unload("tracked")
    // The job that answered releases the module's record when it returns. This job comes after it.
    #expect(await moduleError { try await manager.unload("tracked") }?.errno == ENOENT)
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  private func load(_ manager: ModuleManager, _ point: Guest.Point, _ tracked: Tracked) async throws {
    try await manager.load(
      BuiltInModule("tracked") { host in
        host.register(on: point) { _ in
          tracked.use()
          return .accept
        }
      })
  }

  @Test func failedStartLeavesNothing() async {
    let (manager, point) = Guest.manager(.bigref)
    let module = BuiltInModule("failing") { host in
      _ = host.register(on: point) { _ in .drop }
      return -ENODEV
    }
    #expect(await moduleError { try await manager.load(module) }?.errno == ENODEV)
    await whenGone("failing", manager)
    var argument = Guest.Argument()
    #expect(point.dispatch(&argument).called == 0)
    #expect(
      await moduleError { try await manager.load(BuiltInModule("no name") { _ in 0 }) }?.errno == EINVAL)
  }

  /// The mutant: an object that holds no reference to its module is released by code that was
  /// unmapped.
  @Test func objectWithoutModuleReferenceIsReleasedByUnmappedCode() async {
    let result = await #expect(processExitsWith: .signal(SIGSEGV)) {
      let path = SampleModules.custom(
        "releaser",
        """
        #include <stdio.h>
        __attribute__((visibility("default"))) void release_object(void *object) { *(volatile int *)object += 1; }
        static int init(const struct quiescent_host *h, struct quiescent_self *s) {
          char text[32];
          snprintf(text, sizeof text, "%lx", (unsigned long)release_object);
          host = h; self = s;
          return setenv("RELEASE_OBJECT", text, 1);
        }
        static int leave(void) { return 0; }
        """, ".init = init, .exit = leave")
      let manager = ModuleManager()
      try await manager.load(path: path)
      let address = try #require(getenv("RELEASE_OBJECT").flatMap { UInt(String(cString: $0), radix: 16) })
      let symbol = try #require(UnsafeMutableRawPointer(bitPattern: address))
      let release = unsafeBitCast(symbol, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
      var object: Int32 = 0
      release(&object)
      precondition(object == 1)
      // Unlinked and still open, which the module's count does not include.
      try await manager.unload("releaser")
      release(&object)
    }
    #expect(result != nil)
  }

  /// The module stays until the release function of an object that outlives its unlinking has
  /// returned.
  @Test(arguments: UnloadScheme.all)
  func objectKeepsItsModuleUntilReleaseHasReturned(_ scheme: UnloadScheme) async throws {
    let (manager, _) = Guest.manager(scheme)
    let lines = Lines()
    let host = Shared(Locked<ModuleHost?>(nil))
    try await manager.load(
      BuiltInModule(
        "owner",
        start: {
          let given = $0
          host.value.withLock { $0 = given }
          return 0
        },
        exit: {
          lines.add("exit")
          return 0
        }))
    let mayReturn = Counter()
    let isReleasing = Counter()
    let owner = try #require(host.value.withLock { $0 })
    let object = try TwoStageObject("value", of: owner) { value in
      isReleasing.add(1)
      while mayReturn.value == 0 { sched_yield() }
      lines.add("released \(value)")
    }
    let open = try #require(object.open())
    #expect(object.unlink())
    #expect(!object.unlink())
    #expect(object.open() == nil, "it is no longer found")
    #expect(open.value == "value", "an open handle stays valid")
    #expect(await moduleError { try await manager.unload("owner") }?.errno == scheme.busyErrno)
    async let closed: Void = onThread {
      open.close()
      open.close()
    }
    while isReleasing.value == 0 { await Task.yield() }
    async let outcome = manager.unload("owner", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    for _ in 0..<1000 { await Task.yield() }
    #expect(lines.all.isEmpty)
    mayReturn.add(1)
    await closed
    _ = try await outcome
    #expect(lines.all == ["released value", "exit"])
  }
}
