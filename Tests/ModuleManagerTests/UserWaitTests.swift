import Glibc
import ModuleManager
import TestSupport
import Testing

/// The counts that an unload waits for.
@Suite struct UserWaitTests {
  /// A count of each kind, with one user.
  private struct Count: Sendable {
    let wait: any UserWait
    let get: @Sendable () -> Bool
    let put: @Sendable () -> Void
  }

  enum Kind: CaseIterable { case plain, withBase, activeBit }

  private func count(_ kind: Kind) -> Count {
    switch kind {
    case .plain:
      let count = UserCount()
      count.get()
      return Count(wait: count, get: { true }, put: count.put)
    case .withBase:
      let count = BaseCount()
      #expect(count.get())
      return Count(wait: count, get: count.get, put: count.put)
    case .activeBit:
      let scheme = UnloadScheme.activeBit.make(SchemePlace())
      #expect(scheme.get())
      // A scheme that implements the wait for its users itself.
      return Count(wait: scheme as! any UserWait, get: scheme.get, put: scheme.put)
    }
  }

  /// The last put and the end of the wait come at the same time: one of them wins, and the other
  /// one knows.
  @Test(.exclusive, arguments: Kind.allCases)
  func lastPutRacingWithGiveUpHasOneWinner(_ kind: Kind) async {
    var zeroes = 0, ends = 0, round = 0
    while (zeroes < 50 || ends < 50) && round < 100_000 {
      round += 1
      let count = count(kind)
      let called = Counter()
      let arrived = Counter()
      let gaveUp = Counter()
      count.wait.whenZero { called.add(1) }
      let lead = round % 16
      await onThreads(2) { index in
        arrived.add(1)
        while arrived.value < 2 { sched_yield() }
        if index == 0 {
          for _ in 0..<lead { _ = arrived.value }
          count.put()
        } else {
          for _ in 0..<(15 - lead) { _ = arrived.value }
          if count.wait.giveUp() { gaveUp.add(1) }
        }
      }
      #expect(called.value + gaveUp.value == 1)
      if gaveUp.value == 1 {
        ends += 1
        #expect(count.get(), "the count goes on")
      } else {
        zeroes += 1
        #expect(kind != .withBase || !count.get(), "zero is final")
      }
    }
    #expect(zeroes >= 50 && ends >= 50, "\(zeroes) and \(ends)")
  }

  /// A thread brings the count to zero before the wait begins, and wakes the waiter afterwards.
  /// That wakeup is not for the zero that the waiter waits for.
  @Test func lateWakeUpIsNotTakenForZero() {
    let waiter = ZeroWaiter()
    let users = Counter()
    let called = Counter()
    users.add(1)
    waiter.wait(isZero: { users.value == 0 }) { called.add(1) }
    waiter.wake()
    #expect(called.value == 0)
    users.add(-1)
    waiter.wake()
    waiter.wake()
    #expect(called.value == 1)
    #expect(!waiter.giveUp())
  }

  /// A wait that was given up leaves nothing that a later zero would find.
  @Test(arguments: Kind.allCases)
  func laterWaitIgnoresAnEarlierOne(_ kind: Kind) {
    let count = count(kind)
    let called = Counter()
    for _ in 0..<3 {
      count.wait.whenZero { called.add(100) }
      #expect(count.wait.giveUp())
    }
    count.wait.whenZero { called.add(1) }
    count.put()
    #expect(called.value == 1)
  }

  /// The end comes after the first stage and before the second: the unload notices it there.
  @Test func endBetweenTwoStagesIsNoticed() async throws {
    let scheme = UnloadScheme("two-stages", "", source: "", promises: [], busyErrno: EBUSY) { _ in
      TwoStages()
    }
    let manager = ModuleManager(scheme: scheme)
    try await manager.load(BuiltInModule("staged") { _ in 0 })
    let request = manager.unloadLater("staged")
    request.cancel()
    // Each is queued behind what is on the manager's thread.
    for _ in 0..<4 {
      try await manager.load(BuiltInModule("other") { _ in 0 }, policy: ModulePolicy(scheme: .bigref))
      try await manager.unload("other")
    }
    guard case .failure(let error) = request.result else {
      Issue.record("it waits in the second stage: \(request.result as Any)")
      return
    }
    #expect(error.description == "staged: the request was cancelled (ECANCELED)")
    #expect(manager.list().map(\.state) == [.live])
  }
}

/// When its wait is given up, it first answers that the next stage is about to begin.
private final class TwoStages: Scheme {
  func get() -> Bool { true }
  func put() {}
  var references: Int { 0 }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    operation.offerWayBack {
      operation.later {
        operation.offerWayBack {
          operation.stay()
          return true
        }
      }
      return false
    }
  }
}
