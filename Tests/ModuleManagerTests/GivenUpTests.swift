import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// After a wait is given up, the module is as it was before: with every scheme, and every kind of
/// user.
@Suite struct GivenUpTests {
  typealias Argument = Guest.Argument

  /// The kinds of users that keep a module.
  enum User: String, CaseIterable {
    case object, count, reference
    /// The unload waits for the object before it waits for the count.
    case objectAndCount
  }

  /// Acts as one user of this kind until the returned closure is called.
  private func hold(_ user: User, _ manager: ModuleManager, _ point: Guest.Point) throws -> () -> Void {
    func call(_ command: Guest.Command) {
      var argument = Argument(command)
      #expect(point.dispatch(&argument).called == 1)
      #expect(argument.result == 0)
    }
    // Releases without a hook, which may be unregistered already.
    func packet(_ command: Guest.Command) -> () -> Void {
      var argument = Argument(command)
      #expect(point.dispatch(&argument).called == 1)
      #expect(argument.result == 0)
      return { [argument] in argument.finish() }
    }
    switch user {
    case .object:
      let object = try manager.open("guest-object", holder: "client")
      return { object.close() }
    case .count: return packet(.attachCount)
    case .reference: return packet(.attachReference)
    case .objectAndCount:
      let object = try manager.open("guest-object", holder: "client")
      let count = packet(.attachCount)
      return {
        object.close()
        count()
      }
    }
  }

  /// Checks that the module works as before: hooks are called, names are found, references and
  /// counts can be acquired, and their sum is right.
  private func expectService(_ manager: ModuleManager, _ point: Guest.Point, users: Int) throws {
    #expect(manager.list().map(\.state) == [.live])
    let failedGets = manager.failedGets
    for command in [Guest.Command.look, .acquireCount, .acquire, .release, .releaseCount] {
      var argument = Argument(command)
      #expect(point.dispatch(&argument).called == 1)
      #expect(argument.magic == Guest.magic && argument.result == 0)
    }
    let other = try manager.open("guest-object", holder: "another")
    #expect(try other.read(from: 0, upTo: 9) == Array("hello".utf8))
    #expect(manager.list().first?.users == users + 1)
    other.close()
    #expect(manager.list().first?.users == users)
    #expect(manager.failedGets == failedGets)
  }

  @Test(arguments: UnloadScheme.all, User.allCases)
  func moduleStaysInServiceAfterAWaitIsGivenUp(_ scheme: UnloadScheme, _ user: User) async throws {
    let (manager, point) = Guest.manager(scheme, isPatient: true)
    let path = Guest.file()
    try await manager.load(path: path)
    let letGo = try hold(user, manager, point)
    let users = user == .objectAndCount ? 2 : 1
    for _ in 0..<3 {
      let overdue = await moduleError {
        try await manager.unload("guest", ifBusy: .wait, within: .milliseconds(2))
      }
      #expect(overdue?.errno == ETIMEDOUT)
      #expect(overdue?.holders.count == users)
      try expectService(manager, point, users: users)

      let cancellation = WaitCancellation()
      var events = manager.events().makeAsyncIterator()
      async let cancelled = onThread { () -> Int32 in
        do throws(ModuleError) {
          try manager.unload("guest", ifBusy: .wait, cancelledBy: cancellation)
          return 0
        } catch { return error.errno }
      }
      while await events.next()?.state != .going {}
      cancellation.cancel()
      #expect(await cancelled == EINTR)
      try expectService(manager, point, users: users)

      let task = Task { try await manager.unload("guest", ifBusy: .wait) }
      while await events.next()?.state != .going {}
      task.cancel()
      let result = await task.result
      #expect(await moduleError { try result.get() }?.errno == ECANCELED)
      try expectService(manager, point, users: users)
    }
    #expect(await moduleError { try await manager.unload("guest") }?.errno == scheme.busyErrno)
    // A wait that is not given up ends with its users.
    async let outcome = manager.unload("guest", ifBusy: .wait)
    while manager.list().first?.state != .going { await Task.yield() }
    letGo()
    #expect(try await outcome.isUnmapped)
    #expect(!isMapped(path))
  }

  /// The last releases and the end of the wait come at the same time, while other threads call the
  /// module. It is either unloaded or in service, and there is an answer.
  @Test(.exclusive, arguments: UnloadScheme.all)
  func lastPutsRacingWithGivingUpHaveOneWinner(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme, isPatient: true)
    let path = Guest.file()
    var gone = 0, stayed = 0, round = 0
    while (gone < 15 || stayed < 15) && round < 20_000 {
      round += 1
      if manager.list().isEmpty { try await manager.load(path: path) }
      let object = try manager.open("guest-object", holder: "client")
      var packet = Argument(round.isMultiple(of: 2) ? .attachCount : .attachReference)
      #expect(point.dispatch(&packet).called == 1)
      let cancellation = WaitCancellation()
      var events = manager.events().makeAsyncIterator()
      async let outcome = onThread { () -> Int32 in
        do throws(ModuleError) {
          try manager.unload("guest", ifBusy: .wait, cancelledBy: cancellation)
          return 0
        } catch { return error.errno }
      }
      while await events.next()?.state != .going {}
      let (delay, kind) = (round % 7 * 40, round)
      async let race: Void = onThreads(3) { [packet] index in
        switch index {
        case 0:
          for _ in 0..<delay { sched_yield() }
          object.close()
          if kind % 3 > 0 { packet.finish() }
        case 1:
          if kind % 3 == 0 { packet.finish() }
          for _ in 0..<(kind % 5 * 60) {
            var argument = Argument()
            let isCalled = point.dispatch(&argument).called > 0
            #expect(!isCalled || argument.magic == Guest.magic)
          }
        default:
          for _ in 0..<(kind % 11 * 30) { sched_yield() }
          cancellation.cancel()
        }
      }
      await race
      switch await outcome {
      case 0:
        gone += 1
        #expect(manager.list().isEmpty && !isMapped(path))
      case EINTR:
        stayed += 1
        try expectService(manager, point, users: 0)
      case let code: Issue.record("\(code)")
      }
    }
    #expect(gone >= 15 && stayed >= 15, "\(gone) gone, \(stayed) stayed")
    if !manager.list().isEmpty { #expect(try await manager.unload("guest").isUnmapped) }
  }

  /// Several modules together, with different schemes: those with users stay in service.
  @Test func modulesUnloadedTogetherStayInServiceIfUsed() async throws {
    let manager = ModuleManager()
    for scheme in UnloadScheme.all {
      let module = BuiltInModule(scheme.name) { $0.publish("\(scheme.name)-object") { _, _ in [] } }
      try await manager.load(module, policy: ModulePolicy(scheme: scheme))
    }
    let names = UnloadScheme.all.map(\.name)
    let objects = try names.map { try manager.open("\($0)-object", holder: "client") }
    let ends = try await manager.unload(together: names, ifBusy: .wait, within: .milliseconds(5))
    for end in ends { #expect(await moduleError { try end.result.get() }?.errno == ETIMEDOUT) }
    #expect(ends.count == 9 && manager.list().allSatisfy { $0.state == .live })
    for object in objects { object.close() }
    for end in try await manager.unload(together: names) { _ = try end.result.get() }
    #expect(manager.list().isEmpty)
  }

  /// Registering again may fail, also after a wait was given up.
  @Test(arguments: [UnloadScheme.reregister, .delayedRemoval])
  func nameTakenDuringTheWaitIsEEXIST(_ scheme: UnloadScheme) async throws {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    try await manager.load(path: path)
    let letGo = try hold(.objectAndCount, manager, point)
    let cancellation = WaitCancellation()
    async let error = moduleError {
      try await manager.unload("guest", ifBusy: .wait, cancelledBy: cancellation)
    }
    while !manager.objects().isEmpty { await Task.yield() }
    try await manager.load(BuiltInModule("thief") { $0.publish("guest-object") { _, _ in [] } })
    cancellation.cancel()
    #expect(await error?.errno == EEXIST)
    while manager.list().first?.state != .going { await Task.yield() }
    var argument = Argument()
    while point.dispatch(&argument).called > 0 { await Task.yield() }
    letGo()
    while manager.list().count > 1 { await Task.yield() }
    #expect(!isMapped(path))
    try await manager.unload("thief")
  }

  /// The module's own `cleanup` cannot be undone, so it is called only after the wait has ended.
  @Test func cleanupIsCalledAfterTheWait() async throws {
    let (manager, point) = Guest.manager(.activeBit)
    try await manager.load(path: Guest.file("guest", ", .cleanup = cleanup"))
    let letGo = try hold(.objectAndCount, manager, point)
    let error = await moduleError {
      try await manager.unload("guest", ifBusy: .wait, within: .milliseconds(2))
    }
    #expect(error?.errno == ETIMEDOUT)
    var get = Argument(.getOwn)
    #expect(point.dispatch(&get).called == 1)
    #expect(get.result == 0, "it takes users of its own")
    async let refused = moduleError { try await manager.unload("guest", ifBusy: .wait) }
    while manager.list().first?.state != .going { await Task.yield() }
    letGo()
    #expect(await refused?.description == "guest: its cleanup found users (EBUSY)")
    try expectService(manager, point, users: 0)
    var put = Argument(.putOwn)
    #expect(point.dispatch(&put).called == 1)
    #expect(try await manager.unload("guest", ifBusy: .wait).isUnmapped)
  }

  /// An unload that cannot be undone continues without its caller; the answer says so.
  enum OneWay: CaseIterable { case stopHasRun, wasInCleanup, wasForced }

  @Test(arguments: OneWay.allCases)
  func irreversibleUnloadContinuesWithoutItsCaller(_ way: OneWay) async throws {
    for scheme in way == .wasForced ? UnloadScheme.all : [.startStopExit] {
      let (manager, point) = Guest.manager(scheme, isPatient: true)
      let path = Guest.file("guest", way == .stopHasRun ? ", .stop = stop" : "")
      try await manager.load(path: path)
      let flags = HookFlags()
      let packet = Shared(Locked(Argument(.waitAndAcquire, flags: flags.address)))
      async let call: Void = onThread {
        var argument = packet.value.withLock { $0 }
        _ = point.dispatch(&argument)
        packet.value.withLock { [argument] in $0 = argument }
      }
      while !flags.isInside { await Task.yield() }
      if way == .wasInCleanup {
        async let first = moduleError { try await manager.unload("guest") }
        while manager.list().first?.state != .going { await Task.yield() }
        flags.letGo()
        #expect(await first?.errno == EBUSY)
        #expect(manager.list().map(\.state) == [.cleanup])
      } else {
        flags.letGo()
      }
      await call
      let policy = way == .wasForced ? BusyPolicy.force : .wait
      let cancellation = WaitCancellation()
      async let unload = manager.unload("guest", ifBusy: policy, cancelledBy: cancellation)
      while manager.list().first?.activity?.kind != .users { await Task.yield() }
      cancellation.cancel()
      let outcome = try await unload
      guard case .deferred(let holders) = outcome else {
        Issue.record("\(scheme): \(outcome)")
        return
      }
      #expect(holders.map(\.label) == ["reference"])
      let events = manager.events()
      packet.value.withLock { $0 }.finish()
      for await event in events where event.state == .gone { break }
      #expect(!isMapped(path))
    }
  }
}
