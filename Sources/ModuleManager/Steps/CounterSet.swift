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

  /// Makes them exact. A grace period of `Memb` has passed since ``beginKill()``, or restartable sequences count.
  package func confirm() {
    for count in counts { count.bigref.confirmKill() }
  }

  /// Both of the above. Blocks; who counts goes on counting meanwhile.
  package func makeExact() {
    if counts.isEmpty { return }
    beginKill()
    if !Primitive.Slots.isRestartable { Primitive.waitForGracePeriods(of: [Memb.self]) }
    confirm()
  }

  /// Whether all are zero. Exact between ``confirm()`` and ``revive()``, as long as nobody new comes.
  package var areUnused: Bool { counts.allSatisfy { $0.bigref.approximateCount == 0 } }

  /// They count on the processors again: the module serves on.
  package func revive() {
    for count in counts { count.bigref.resurrect() }
  }

  /// From here on nothing but their users keeps them from zero.
  package func releaseOwners() {
    for count in counts { count.bigref.releaseOwner() }
  }

  /// Runs `next` once every counter is zero: now, or on the manager's thread when the last user lets go. There is no way
  /// back from here: zero is final.
  package func whenUnused(_ departure: Departure, _ next: @escaping @Sendable () -> Void) {
    releaseOwners()
    if counts.allSatisfy({ $0.bigref.isZero }) { return next() }
    let left = Primitive.Shared(Primitive.Word(counts.count))
    for count in counts {
      count.bigref.atZero(
        .call {
          if left.value.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { departure.later(next) }
        })
    }
  }
}

extension Departure {
  /// The counters that the module made itself.
  package var counters: CounterSet { CounterSet(module.counts) }
}
