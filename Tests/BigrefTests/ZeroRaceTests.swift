import Quiescence
import SequenceVariants
import Synchronization
import TestSupport
import Testing

@testable import Bigref

/// Kill races with references that come and go; whatever the interleaving, zero happens once, and never early.
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

  /// The mutant. Without the barrier, or the grace period, whoever saw the live mode adds to a slot that has been
  /// summed up already: the reference is lost. Zero is early or never comes, giving it back takes the
  /// count below zero, or another one is taken after zero.
  @Test(
    .enabled(
      if: Affinity.processors.count > 1, "a sequence is not interrupted by a thread of its own processor"))
  func withoutTheBarrierReferencesAreLost() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let early = await Self.race(rounds: 1_000_000, byLongSequence: true) { count in
        count.beginKill()
        count.storage.addUp()
        count.releaseOwner()
        // A lost release: nothing can come of waiting for it.
        if !count.waitForZero(atMost: .seconds(10)) { fatalError("zero never came") }
      }
      fatalError("zero was early in \(early) rounds")
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    let signs = [
      "the count fell below zero", "acquire after the count reached zero", "early in 1 rounds",
      "zero never came",
    ]
    #expect(signs.contains { line.contains($0) }, "\(line)")
  }

  /// Two threads take and give references all the time, while the owner kills, waits for zero and resurrects.
  /// Counts the rounds in which somebody held a reference at zero. By a long sequence, references are taken by one that
  /// has a microsecond between its test and its commit: else a busy machine hardly ever shows what the barrier is for.
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
