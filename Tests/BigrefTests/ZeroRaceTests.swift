import Quiescence
import SequenceVariants
import Synchronization
import TestSupport
import Testing

@testable import Bigref

/// Kills race with acquires and releases. Whatever the interleaving, zero happens once, and never
/// early.
@Suite(.exclusive) struct ZeroRaceTests {
  @Test func zeroIsNeverEarly() async {
    let early = await Self.race(rounds: 2000) { count in
      count.beginKill()
      if Storage.needsGracePeriod { Memb.synchronize() }
      count.confirmKill()
      count.releaseOwner()
    }
    #expect(early == 0)
  }

  /// The mutant. Without the barrier or grace period, a thread that saw the live mode adds to a
  /// slot that was added up already: its reference is lost. Then zero is early, or its release
  /// takes the count below zero, or another thread acquires after zero; a lost release means that
  /// zero never comes.
  @Test(
    .enabled(
      if: Affinity.processors.count > 1, "a sequence is not interrupted by a thread of its own processor"))
  func killWithoutBarrierLosesReferences() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let early = await Self.race(rounds: 1_000_000, byLongSequence: true) { count in
        count.beginKill()
        count.storage.addUp()
        count.releaseOwner()
        // A release was lost: the wait would not end.
        if !count.waitForZero(atMost: .seconds(10)) { fatalError("zero never came") }
      }
      fatalError("zero was early in \(early) rounds")
    }
    let line = result.trap ?? ""
    let signs = [
      "the count fell below zero", "acquire() after the count reached zero", "early in 1 rounds",
      "zero never came",
    ]
    #expect(signs.contains { line.contains($0) }, "\(line)")
  }

  /// Two threads acquire and release all the time, while the owner kills, waits for zero and
  /// resurrects. Returns the number of rounds in which a thread held a reference at zero.
  ///
  /// `byLongSequence` acquires by a sequence that has microseconds between its test and its
  /// commit. Without it, a busy machine rarely shows what the barrier is for.
  private static func race(
    rounds: Int, byLongSequence isLong: Bool = false,
    killing kill: @escaping @Sendable (borrowing Bigref) -> Void
  ) async -> Int {
    let count = Shared(Bigref())
    let held = Counter()
    let early = Counter()
    let done = Counter()
    await onThreads(3) { index in
      Affinity.keep(min(index, 1))
      if index == 0 {
        for _ in 0..<rounds where early.value == 0 {
          kill(count.value)
          count.value.waitForZero()
          if held.value != 0 { early.add(1) }
          count.value.resurrect()
        }
        done.add(1)
      } else {
        while done.value == 0 {
          let storage = count.value.storage
          let isTaken =
            isLong
            ? add_by_long_sequence(storage.cell.pointer, 1)
              || storage.tryAcquireSlowly(onlyLive: true, for: nil)
            : count.value.tryAcquireLive()
          guard isTaken else { continue }
          held.add(1)
          held.add(-1)
          count.value.release()
        }
      }
    }
    return early.value
  }
}
