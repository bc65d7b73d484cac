import ModuleManager
import TestSupport
import Testing

/// The counts whose zero an unload waits for.
@Suite struct UserWaitTests {
  /// A count of any kind, which has one user.
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
      // A scheme that is the wait for its users itself.
      return Count(wait: scheme as! any UserWait, get: scheme.get, put: scheme.put)
    }
  }

  /// The last put and the end of the wait at the same time: one of them wins, and the other knows.
  @Test(.exclusive, arguments: Kind.allCases)
  func oneOfTheTwoWins(_ kind: Kind) async {
    var zeroes = 0, ends = 0, round = 0
    while (zeroes < 200 || ends < 200) && round < 100_000 {
      round += 1
      let count = count(kind)
      let called = Counter()
      let arrived = Counter()
      let gaveUp = Counter()
      count.wait.whenZero { called.add(1) }
      let lead = round % 16
      await onThreads(2) { index in
        arrived.add(1)
        while arrived.value < 2 {}
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
    #expect(zeroes >= 200 && ends >= 200, "\(zeroes) and \(ends)")
  }

  /// Who brought the count to zero before anybody waited comes to waking afterwards: that is not the zero that is waited for.
  @Test func aLateWakeIsNoZero() {
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
  func aLaterWaitIsANewOne(_ kind: Kind) {
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
}
