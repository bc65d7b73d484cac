import Glibc
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// `BIGREF_TORTURE_SECONDS=60 swift test --filter BigrefTests.TortureTests` for a long run.
@Suite(.exclusive) struct TortureTests {
  @Test func countersSurvive() async { await Self.survives(.correct) }

  /// Most of these sequences are sent back to their start, by preemption, signals, barriers, and moves.
  @Test func countersSurviveInterruptedSequences() async { await Self.survives(.long) }

  private static func survives(_ variant: Torture.Variant) async {
    let seconds = getenv("BIGREF_TORTURE_SECONDS").flatMap { Int(String(cString: $0)) } ?? 0
    let start = ContinuousClock.now
    let result = await Torture(variant).run { rounds in
      rounds >= 300 && ContinuousClock.now - start >= .seconds(seconds)
    }
    #expect(result.rounds >= 300)
    #expect(result.signals > 0, "nothing was interrupted: the test showed nothing")
    #expect(result.moves > 0, "nobody was moved: the test showed nothing")
    #expect(result.handed > 0, "no reference changed hands: the test showed nothing")
    if seconds > 0 { print("torture, \(variant), by \(Bigref.statistics.counting): \(result)") }
  }

  /// Without the restart, a thread adds to the slot of a processor that it has left, beside the one that runs there; or
  /// to one that has been added up meanwhile.
  @Test func withoutTheRestartItIsFoundOut() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.meetsItsEnd(.withoutRestart)
    }
    expectFoundOut(result)
  }

  /// Without the barrier, a sequence that has read the live mode adds to a slot that has been added up.
  @Test func withoutTheBarrierItIsFoundOut() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.meetsItsEnd(.withoutBarrier)
    }
    expectFoundOut(result)
  }

  /// Without the bias, releases of references that the slots hold bring the count to zero, or below.
  @Test func withoutTheBiasItIsFoundOut() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.meetsItsEnd(.withoutBias)
    }
    expectFoundOut(result)
  }

  /// Ends the process by a trap; or returns, after far more rounds than a mutant lives.
  private static func meetsItsEnd(_ variant: Torture.Variant) async {
    let start = ContinuousClock.now
    _ = await Torture(variant).run { rounds in
      rounds >= 100_000 || ContinuousClock.now - start > .seconds(120)
    }
  }

  private func expectFoundOut(_ result: ExitTest.Result?) {
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    let signs = [
      "torture: ", "the count fell below zero", "acquire after the count reached zero",
      "a Bigref was used after it was destroyed",
    ]
    #expect(signs.contains { line.contains($0) }, "\(line)")
  }
}
