internal import Bigref
internal import Quiescence

/// Counters that keep a module, driven together through their end.
package struct CounterSet: Sendable {
  private let counts: [ModuleCount]

  package init(_ counts: [ModuleCount]) { self.counts = counts }

  /// Ends their live modes: from here on they count slowly, and ``confirm()`` can make them exact.
  package func beginKill() {
    for count in counts { count.bigref.beginKill() }
  }

  /// Makes them exact. A grace period of `Memb` has passed since ``beginKill()``, or restartable
  /// sequences count.
  package func confirm() {
    for count in counts { count.bigref.confirmKill() }
  }

  var isEmpty: Bool { counts.isEmpty }

  /// Whether all are zero. Exact between ``confirm()`` and ``revive()``, as long as no new user
  /// comes.
  package var areUnused: Bool { counts.allSatisfy { $0.bigref.approximateCount == 0 } }

  /// They count on the processors again: the module serves on.
  package func revive() {
    for count in counts { count.bigref.resurrect() }
  }

  /// From here on nothing but their users keeps them from zero.
  package func releaseOwners() {
    for count in counts { count.bigref.releaseOwner() }
  }

  /// Runs `next` on the manager's queue when the last user releases it; nil, and `next` is not
  /// called, when there is none. Before zero, which is final, the wait can be given up.
  func awaitUnused(_ operation: UnloadOperation, _ next: @escaping @Sendable () -> Void) -> CounterWait? {
    releaseOwners()
    if counts.allSatisfy({ $0.bigref.isZero }) { return nil }
    let wait = CounterWait(counters: counts.count)
    for count in counts {
      let entry = count.bigref.atZero(.call { if wait.oneIsZero() { operation.advance(next) } })
      if let entry { wait.keep { count.bigref.forget(entry) } }
    }
    return wait
  }
}

/// A wait for counters of which each reaches zero once.
final class CounterWait: Sendable {
  /// Counters that are not zero yet; 0 is the end of the wait, and below it was given up.
  private let left: Primitive.Word
  private let forgets = Primitive.Guarded<[@Sendable () -> Void]>([])

  fileprivate init(counters: Int) { left = Primitive.Word(counters) }

  fileprivate func keep(_ forget: @escaping @Sendable () -> Void) { forgets.withLock { $0.append(forget) } }

  /// Whether that was the last one of a wait that goes on.
  fileprivate func oneIsZero() -> Bool {
    left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
  }

  /// Gives the wait up. False when all are zero: what comes next is on its way, and must be let
  /// through.
  ///
  /// One atomic step decides between this and the last zero. Two would let both go ahead: the
  /// module would be revived and unmapped.
  func giveUp() -> Bool {
    var old = left.load(ordering: .acquiring)
    while true {
      if old <= 0 { return false }
      let (isDone, now) = left.weakCompareExchange(
        expected: old, desired: Int.min / 2, ordering: .acquiringAndReleasing)
      if isDone { break }
      old = now
    }
    // Else every wait that is given up would leave something behind in a counter that is never
    // zero.
    for forget in forgets.withLock({ $0 }) { forget() }
    return true
  }
}

extension UnloadOperation {
  /// The counters that the module made itself.
  package var counters: CounterSet { CounterSet(module.counts) }
}
