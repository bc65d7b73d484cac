import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// What the mails say about single schemes.
@Suite struct SchemeTests {
  typealias Argument = Guest.Argument

  /// How an unload that does not wait ends if a user takes a reference during it.
  private struct Late {
    let outcome: String
    let state: ModuleState?
    let isOnPoint: Bool
  }

  private static let refused = Late(outcome: "EBUSY", state: .live, isOnPoint: true)
  private static let late: [UnloadScheme: Late] = [
    .bigref: refused, .reregister: refused, .bigReaderLock: refused, .activeBit: refused,
    .tryAcquire: refused,
    .lockList: refused,
    .oneAtomic: Late(outcome: "EWOULDBLOCK", state: .live, isOnPoint: true),
    .delayedRemoval: Late(outcome: "deferred", state: .going, isOnPoint: false),
    .startStopExit: Late(outcome: "EBUSY", state: .cleanup, isOnPoint: false),
  ]

  /// A call that is in progress when the unload starts takes a reference before it returns.
  @Test(arguments: UnloadScheme.all)
  func userThatEntersDuringTheUnloadIsSeen(_ scheme: UnloadScheme) async throws {
    let expected = try #require(Self.late[scheme])
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let flags = HookFlags()
    let packet = Locked<Argument?>(nil)
    let holder = Shared(packet)
    async let call: Void = onThread {
      var argument = Argument(.waitAndCount, flags: flags.address)
      _ = point.dispatch(&argument)
      holder.value.withLock { $0 = argument }
    }
    while !flags.isInside { await Task.yield() }
    let isOut = Counter()
    async let answer = outcome(manager, isOut)
    while isOut.value == 0 && manager.list().first?.state == .live { await Task.yield() }
    flags.letGo()
    await call
    #expect(await answer == expected.outcome)
    #expect(manager.list().first?.state == expected.state)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == (expected.isOnPoint ? 1 : 0))
    holder.value.withLock { $0.take() }?.finish()
    if expected.state != .going { #expect(try await manager.unload("guest").isUnmapped) }
    while !manager.list().isEmpty { await Task.yield() }
    #expect(!isMapped(path))
  }

  private func outcome(_ manager: ModuleManager, _ isOut: Counter) async -> String {
    defer { isOut.add(1) }
    do {
      if case .deferred(let holders) = try await manager.unload("guest") {
        return holders.map(\.label) == ["packets in flight"] ? "deferred" : "\(holders)"
      }
      return "out"
    } catch { return error.errnoName }
  }

  /// Another module has taken the object's name when this module wants to register it again.
  @Test func nameTakenDuringTheUnloadIsEEXIST() async throws {
    let (manager, point) = Guest.manager(.reregister)
    try await manager.load(path: Guest.file())
    let thief = Shared(Locked<ModuleHost?>(nil))
    try await manager.load(
      BuiltInModule("thief") { host in
        thief.value.withLock { $0 = host }
        return 0
      })
    let flags = HookFlags()
    async let packet = onThread { () -> Argument in
      var argument = Argument(.waitAndAcquire, flags: flags.address)
      _ = point.dispatch(&argument)
      return argument
    }
    while !flags.isInside { await Task.yield() }
    async let error = moduleError { try await manager.unload("guest") }
    while !manager.objects().isEmpty { await Task.yield() }
    #expect(await moduleError { try manager.open("guest-object", holder: "late") }?.errno == ENOENT)
    let host = try #require(thief.value.withLock { $0 })
    #expect(host.publish("guest-object") { _, _ in [] } == 0)
    flags.letGo()
    let argument = await packet
    #expect(argument.result == 0)
    #expect(await error?.errno == EEXIST)
    #expect(manager.list().first?.state == .going, "it is unloaded when its last user releases it")
    argument.finish()
    while manager.list().count > 1 { await Task.yield() }
    #expect(try await manager.unload("thief").isUnmapped == false)
    #expect(manager.list().isEmpty)
  }

  @Test func cleanupRefusesBeforeAnythingIsUnregistered() async throws {
    let (manager, point) = Guest.manager(.activeBit)
    try await manager.load(path: Guest.file("guest", ", .cleanup = cleanup"))
    var get = Argument(.getOwn)
    #expect(point.dispatch(&get).called == 1)
    #expect(get.result == 0)
    #expect(
      await moduleError { try await manager.unload("guest") }?.description
        == "guest: its cleanup found users (EBUSY)")
    #expect(manager.list().first?.state == .live)
    #expect(point.dispatch(&get).called == 1, "its interfaces were never down")
    #expect(get.result == 0, "and it takes users")
    var put = Argument(.putOwn)
    for _ in 0..<2 { _ = point.dispatch(&put) }
    #expect(try await manager.unload("guest").isUnmapped)
  }

  @Test func usecountIsCheckedBeforeStop() async throws {
    let (manager, point) = Guest.manager(.startStopExit)
    let lines = Lines()
    manager.setLog { _, line in lines.add(line) }
    try await manager.load(path: Guest.file("guest", ", .usecount = usecount, .stop = stop"))
    var get = Argument(.getOwn)
    _ = point.dispatch(&get)
    #expect(
      await moduleError { try await manager.unload("guest") }?.description
        == "guest: in use: the module's own (EBUSY)")
    #expect(lines.all.isEmpty)
    var put = Argument(.putOwn)
    _ = point.dispatch(&put)
    #expect(try await manager.unload("guest").isUnmapped)
    #expect(lines.all == ["stop"])
  }

  /// "Calling exit even after a failed init is not just an implementation detail."
  @Test(arguments: [0, 1])
  func exitRunsAfterAFailedInitIfDeclared(_ refusals: Int) async throws {
    let (manager, point) = Guest.manager(.startStopExit, isPatient: true)
    let path = Guest.file(
      "guest", failingAt: 3, refusals: refusals, ", .flags = QUIESCENT_EXIT_AFTER_FAILED_INIT")
    #expect(await moduleError { try await manager.load(path: path) }?.errno == ENODEV)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 0)
    while manager.list().first?.state == .going { await Task.yield() }
    #expect(manager.list().map(\.state) == (refusals == 0 ? [] : [.cleanup]))
    if refusals > 0 {
      #expect(await moduleError { try await manager.load(path: path) }?.errno == EEXIST)
      #expect(try await manager.unload("guest").isUnmapped)
    }
    #expect(!isMapped(path))
  }

  /// Users remain after `stop`: the module is in cleanup, it cannot return to service, and the
  /// unload must be requested again.
  @Test func unloadCannotBeUndoneAfterStop() async throws {
    let (manager, point) = Guest.manager(.startStopExit)
    try await manager.load(path: Guest.file())
    let flags = HookFlags()
    async let packet = onThread { () -> Argument in
      var argument = Argument(.waitAndAcquire, flags: flags.address)
      _ = point.dispatch(&argument)
      return argument
    }
    while !flags.isInside { await Task.yield() }
    async let error = moduleError { try await manager.unload("guest") }
    while manager.list().first?.state == .live { await Task.yield() }
    flags.letGo()
    let argument = await packet
    #expect(await error?.reason == "in use: reference; its interfaces are down, unload it again")
    #expect(await moduleError { try await manager.unload("guest") }?.errno == EBUSY)
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    argument.finish()
    #expect(try await outcome.isUnmapped)
  }

  @Test(arguments: [UnloadScheme.activeBit, .tryAcquire, .oneAtomic])
  func callsFailDuringTheUnload(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let object = try manager.open("guest-object", holder: "client")
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    var argument = Argument()
    while point.dispatch(&argument).called > 0 { await Task.yield() }
    #expect(manager.list().first?.failedGets == 1)
    #expect(manager.failedGets == 1)
    object.close()
    #expect(try await outcome.isUnmapped)
  }

  @Test(arguments: [UnloadScheme.lockList])
  func callsContinueDuringTheWait(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    try await manager.load(path: Guest.file())
    let object = try manager.open("guest-object", holder: "client")
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    for _ in 0..<100 {
      var argument = Argument()
      #expect(point.dispatch(&argument).called == 1)
    }
    let second = try manager.open("guest-object", holder: "another")
    object.close()
    second.close()
    #expect(try await outcome.isUnmapped)
  }

  /// A holder of one of the module's counters is a user, and may take a reference before it
  /// releases the counter.
  @Test(arguments: UnloadScheme.all)
  func holderOfACounterMayTakeAReference(_ scheme: UnloadScheme) async throws {
    let manager = ModuleManager(scheme: scheme)
    let hold = Shared(Locked<(host: ModuleHost, count: ModuleCounter)?>(nil))
    let held = Counter()
    let early = Counter()
    let module = BuiltInModule(
      "counted",
      start: { host in
        guard let count = host.counter("packets") else { return -ENOMEM }
        hold.value.withLock { $0 = (host, count) }
        return 0
      },
      exit: {
        early.add(held.value)
        return 0
      })
    try await manager.load(module)
    let (host, count) = try #require(hold.value.withLock { $0 })
    count.acquire()
    async let outcome = manager.unload("counted", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    // Queued behind the unload on the manager's thread: the unload waits for the counter by now.
    for _ in 0..<3 { #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT) }
    let isHeld = host.acquire()
    if isHeld { held.add(1) }
    count.release()
    for _ in 0..<3 { #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT) }
    if isHeld {
      held.add(-1)
      host.release()
    }
    _ = try await outcome
    #expect(early.value == 0, "its exit ran under a user")
  }

  /// A forced unload has closed the module before it takes the locks again. If the wait ended then,
  /// the module would be in service, but closed.
  @Test(.exclusive) func forcedUnloadIgnoresTheEndOfTheWait() async throws {
    let (manager, point) = Guest.manager(.lockList)
    for _ in 0..<20 {
      try await manager.load(path: Guest.file())
      let told = Counter()
      let isOver = Counter()
      let object = try manager.open("guest-object", holder: "client") { told.add(1) }
      // These calls keep the lock of the hook point busy.
      async let traffic: Void = onThreads(2) { _ in
        while isOver.value == 0 {
          var argument = Argument()
          _ = point.dispatch(&argument)
        }
      }
      let request = manager.unloadLater("guest", ifBusy: .force)
      while told.value == 0 { await Task.yield() }
      request.cancel()
      var events = manager.events().makeAsyncIterator()
      object.close()
      let state = await events.next()?.state
      #expect(state == .gone)
      isOver.add(1)
      await traffic
      if state != .gone { break }
    }
  }

  /// When the reclaimer is full, unregistering a hook waits for readers, and those may be waiting
  /// for a lock of the table. A limit is there so that a manager that hangs fails the test.
  @Test func lockListUnloadsWithAFullReclaimer() async {
    await #expect(processExitsWith: .exitCode(23)) {
      Memb.reclaimer.limit = RetireLimit(4, .wait)
      let (manager, point) = Guest.manager(.lockList)
      let path = Guest.file()
      let isOver = Counter()
      async let traffic: Void = onThreads(2) { _ in
        while isOver.value == 0 {
          var argument = Argument()
          _ = point.dispatch(&argument)
          sched_yield()
        }
      }
      for _ in 0..<50 {
        try await manager.load(path: path, within: .seconds(600))
        guard try await manager.unload("guest", ifBusy: .wait, within: .seconds(600)).isUnmapped else {
          exit(1)
        }
      }
      isOver.add(1)
      await traffic
      exit(23)
    }
  }
}
