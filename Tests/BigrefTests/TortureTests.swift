import Glibc
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// For a long run: `BIGREF_TORTURE_SECONDS=60 swift test --filter BigrefTests.TortureTests`.
@Suite(.exclusive) struct TortureTests {
  @Test func countersSurviveTorture() async { await Self.survives(.correct) }

  /// Most of these sequences are restarted: by preemption, signals, barriers, and moves.
  @Test func countersSurviveInterruptedSequences() async { await Self.survives(.long) }

  private static func survives(_ variant: Torture.Variant) async {
    let seconds = getenv("BIGREF_TORTURE_SECONDS").flatMap { Int(String(cString: $0)) } ?? 0
    let start = ContinuousClock.now
    // A run proves something when signals arrived, threads moved and references changed hands.
    let result = await Torture(variant).run { result in
      result.rounds >= 300 && result.signals > 0 && result.moves > 0 && result.handed > 0
        && ContinuousClock.now - start >= .seconds(seconds)
    }
    #expect(result.rounds >= 300)
    if seconds > 0 { print("torture, \(variant), by \(Bigref.statistics.counting): \(result)") }
  }

  /// Without the restart, a thread adds to the slot of a processor that it has left, concurrently
  /// with a thread that runs there; or it adds to a slot that was added up already.
  @Test func tortureCatchesAMissingRestart() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.runToTheTrap(.withoutRestart)
    }
    expectTrap(result)
  }

  /// Without the barrier, a sequence that has read the live mode adds to a slot that was added up
  /// already.
  @Test func tortureCatchesAMissingBarrier() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.runToTheTrap(.withoutBarrier)
    }
    expectTrap(result)
  }

  /// Without the bias, releases of references that the slots hold bring the count to zero or below.
  @Test func tortureCatchesAMissingBias() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.runToTheTrap(.withoutBias)
    }
    expectTrap(result)
  }

  /// Ends the process by a trap. Returns only after many more rounds than a mutant survives.
  private static func runToTheTrap(_ variant: Torture.Variant) async {
    let start = ContinuousClock.now
    _ = await Torture(variant).run { result in
      result.rounds >= 100_000 || ContinuousClock.now - start > .seconds(120)
    }
  }

  private func expectTrap(_ result: ExitTest.Result?) {
    let line = result.trap ?? ""
    let signs = [
      "torture: ", "the count fell below zero", "acquire() after the count reached zero",
      "a Bigref was used after it was destroyed",
    ]
    #expect(signs.contains { line.contains($0) }, "\(line)")
  }
}
