import BrokenSchemes
import Foundation
import ModuleManager
import Quiescence
import Synchronization
import TestSupport
import Testing

/// Every broken scheme is caught. Otherwise the tests of the correct schemes would prove nothing.
@Suite(.exclusive) struct BrokenTests {
  typealias Argument = Guest.Argument

  @Test func everySchemeNamesTheTestThatCatchesIt() throws {
    let source = try String(contentsOf: URL(filePath: #filePath), encoding: .utf8)
    for broken in BrokenScheme.all {
      #expect(source.contains("func \(broken.caughtBy)("), "\(broken)")
      #expect(!broken.whatGoesWrong.isEmpty)
      #expect(UnloadScheme.named(broken.scheme.name) == nil)
    }
    #expect(Set(BrokenScheme.all.map(\.scheme)).count == BrokenScheme.all.count)
  }

  /// In a child process, which calls unmapped code, or counts an event that must never happen.
  @Test(arguments: BrokenScheme.stormy.map(\.scheme.name))
  func stormCatchesBrokenSchemes(_ name: String) async {
    await #expect(processExitsWith: .failure) { [name = name as String] in
      let broken = try #require(BrokenScheme.named(name))
      let progress = Shared(Locked((unloads: 0, since: ContinuousClock.now)))
      await onThreads { _ in
        Task {
          let outcome = await Storm(broken.scheme) { unloads in
            progress.value.withLock { if $0.unloads != unloads { $0 = (unloads, .now) } }
            return unloads >= 3000
          }.run()
          exit(outcome.wrong.isEmpty ? 0 : 1)
        }
        while progress.value.withLock({ $0.since.duration(to: .now) }) < .seconds(10) { usleep(10_000) }
        // A hang also counts as caught.
        exit(1)
      }
    }
  }

  /// The test of the test above: the same child process, with a correct scheme.
  @Test func stormPassesACorrectScheme() async {
    await #expect(processExitsWith: .success) {
      let outcome = await Storm(.bigref) { unloads in unloads >= 20 }.run()
      exit(outcome.wrong.isEmpty ? 0 : 1)
    }
  }
}

// MARK: - One scheme each

extension BrokenTests {
  private func broken(_ name: String) throws -> UnloadScheme {
    try #require(BrokenScheme.named(name)?.scheme)
  }

  @Test func clearedActiveBitLeavesAnUnusableModule() async throws {
    let (manager, point) = Guest.manager(try broken("broken-active-bit-as-printed"))
    try await manager.load(path: Guest.file())
    // A user that the scheme finds, and the manager does not.
    let flags = HookFlags()
    async let call: Void = onThread {
      var packet = Argument(.wait, flags: flags.address)
      _ = point.dispatch(&packet)
    }
    while !flags.isInside { await Task.yield() }
    #expect(await moduleError { try await manager.unload("guest") }?.errno == EBUSY)
    flags.letGo()
    await call
    #expect(manager.list().first?.state == .live)
    // No step ever sets the bit again.
    #expect(await moduleError { try manager.open("guest-object", holder: "client") }?.errno == ENOENT)
  }

  @Test func shortCircuitLeavesAnInterfaceRegistered() async throws {
    let (manager, _) = Guest.manager(try broken("broken-short-circuit"))
    try await manager.load(path: Guest.file())
    let object = try manager.open("guest-object", holder: "client")
    #expect(await moduleError { try await manager.unload("guest", ifBusy: .wait) }?.errno == EBUSY)
    object.close()
    for _ in 0..<3 {
      #expect(await moduleError { try await manager.unload("guest") }?.errno == ENOENT)
      #expect(manager.objects() == ["guest-object"])
    }
  }

  @Test func lateWaiterIsNotWoken() async throws {
    let (manager, _) = Guest.manager(try broken("broken-lost-wakeup"))
    try await manager.load(path: Guest.file())
    // The last put comes between the test of the count and the sleep.
    let held = Shared(Mutex<OpenObject?>(nil))
    let isTold = Counter()
    let object = try manager.open("guest-object", holder: "client") {
      held.value.withLock { $0.take() }?.close()
      isTold.add(1)
    }
    held.value.withLock { $0 = object }
    let isOut = Counter()
    Task {
      _ = try? await manager.unload("guest", ifBusy: .force)
      isOut.add(1)
    }
    while isTold.value == 0 { await Task.yield() }
    // Queued behind the unload on the manager's thread: the unload sleeps, although its last user
    // has gone.
    for _ in 0..<100 { #expect(await moduleError { try await manager.unload("nosuch") }?.errno == ENOENT) }
    #expect(isOut.value == 0)
    #expect(manager.list().first?.holders.isEmpty == true)
  }

  @Test func unseenSecondUnloadRunsExitTwice() async {
    await #expect(processExitsWith: .failure) {
      let scheme = try #require(BrokenScheme.named("broken-second-unload")?.scheme)
      let (manager, _) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      let object = try manager.open("guest-object", holder: "client")
      async let first = manager.unload("guest", ifBusy: .wait)
      async let second = manager.unload("guest", ifBusy: .wait)
      for _ in 0..<100 { _ = await moduleError { try await manager.unload("nosuch") } }
      object.close()
      _ = try? await (first, second)
      exit(0)
    }
  }

  @Test func lastPutReturnsToUnmappedCode() async {
    await #expect(processExitsWith: .failure) {
      let scheme = try #require(BrokenScheme.named("broken-no-last-grace-period")?.scheme)
      let (manager, point) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      let flags = HookFlags()
      // Called after the grace period that waits for threads inside: what comes now is the last
      // put.
      let isTold = Counter()
      let object = try manager.open("guest-object", holder: "client") { isTold.add(1) }
      let isHeld = Counter()
      async let last: Void = onThread {
        var packet = Argument(.attachSlow, flags: flags.address)
        _ = point.dispatch(&packet)
        isHeld.add(1)
        while isTold.value == 0 { sched_yield() }
        object.close()
        packet.finish()
      }
      while isHeld.value == 0 { await Task.yield() }
      _ = try await manager.unload("guest", ifBusy: .force)
      flags.letGo()
      await last
      exit(0)
    }
  }

  @Test func missingSyncFreesCodeUnderACall() async {
    await #expect(processExitsWith: .failure) {
      let scheme = try #require(BrokenScheme.named("broken-no-sync")?.scheme)
      let (manager, point) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      let flags = HookFlags()
      async let call: Void = onThread {
        var argument = Argument(.wait, flags: flags.address)
        _ = point.dispatch(&argument)
      }
      while !flags.isInside { await Task.yield() }
      _ = try await manager.unload("guest")
      flags.letGo()
      await call
      exit(0)
    }
  }

  @Test(arguments: ["broken-no-recheck", "broken-force"])
  func missingRecheckFreesCodeUnderAUser(_ name: String) async {
    await #expect(processExitsWith: .failure) { [name = name as String] in
      let scheme = try #require(BrokenScheme.named(name)?.scheme)
      let (manager, _) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      let object = try manager.open("guest-object", holder: "client")
      _ = try await manager.unload("guest", ifBusy: name == "broken-force" ? .force : .wait)
      _ = try object.read(from: 0, upTo: 5)
      exit(0)
    }
  }

  @Test(arguments: ["broken-free-before-unlock", "broken-double-unlock"])
  func listOfLocksIsReadAfterItWasFreed(_ name: String) async {
    await #expect(processExitsWith: .failure) { [name = name as String] in
      let scheme = try #require(BrokenScheme.named(name)?.scheme)
      let (manager, _) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      _ = try await manager.unload("guest")
      exit(0)
    }
  }

  @Test func secondUnlockTraps() async {
    await #expect(processExitsWith: .failure) {
      let lock = ReadWriteSemaphore()
      _ = lock.acquireWrite()
      lock.releaseWrite()
      lock.releaseWrite()
      exit(0)
    }
    await listOfLocksIsReadAfterItWasFreed("broken-double-unlock")
  }

  @Test func waitUnderLocksKeepsTheLastUserFromReleasing() async {
    await #expect(processExitsWith: .exitCode(17)) {
      let scheme = try #require(BrokenScheme.named("broken-wait-under-locks")?.scheme)
      let (manager, _) = Guest.manager(scheme)
      try await manager.load(path: Guest.file())
      let object = try manager.open("guest-object", holder: "client")
      let isClosed = Counter()
      await onThreads(3) { index in
        if index == 0 { _ = try? manager.unload("guest", ifBusy: .wait) }
        if index == 1 {
          while manager.list().first?.state != .going { sched_yield() }
          object.close()
          isClosed.add(1)
        }
        // The closing thread waits for the lock, and the unload, which holds the lock, waits for
        // the closing thread. The time limit is only for the broken scheme, and need only be longer
        // than closing takes.
        if index == 2 {
          sleep(2)
          exit(isClosed.value == 0 ? 17 : 0)
        }
      }
    }
  }

  /// A get fails although the unload at the same time fails as well.
  @Test func plainAddBackFailsAGetOfAModuleInService() async throws {
    let end = ContinuousClock.now + .seconds(120)
    #expect(
      try await failsThoughItServesOn(broken("broken-plain-add-back")) { _ in ContinuousClock.now >= end })
    #expect(try await !failsThoughItServesOn(.oneAtomic) { $0 >= 300 })
  }

  private func failsThoughItServesOn(
    _ scheme: UnloadScheme, until isOver: @escaping @Sendable (_ rounds: Int) -> Bool
  ) async throws -> Bool {
    let (manager, point) = Guest.manager(scheme)
    let path = Guest.file()
    var rounds = 0
    while !isOver(rounds) {
      rounds += 1
      if manager.list().isEmpty { try await manager.load(path: path) }
      let isRefused = Counter()
      let failures = Counter()
      await onThreads(3) { index in
        if index == 0 {
          do { _ = try manager.unload("guest") } catch { isRefused.add(1) }
          return
        }
        // Calls that count themselves.
        for _ in 0..<50 {
          var argument = Argument()
          if point.dispatch(&argument).called == 0 { failures.add(1) }
        }
      }
      if isRefused.value == 1 && failures.value > 0 { return true }
    }
    return false
  }
}
