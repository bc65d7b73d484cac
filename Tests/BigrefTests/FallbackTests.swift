import Foundation
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// How counting is chosen at the start of the process; and every test of this target once more, in a process that is
/// told to do without restartable sequences.
@Suite(.exclusive) struct FallbackTests {
  /// Says which way the process goes; run by the tests below in their children.
  @Test func countingIsChosenAtTheStart() {
    let environment = ProcessInfo.processInfo.environment
    if environment["QUIESCENCE_NO_RSEQ"] == "1" {
      #expect(Bigref.statistics.counting == .atomicAdds(reason: "QUIESCENCE_NO_RSEQ is set"))
    } else if environment["GLIBC_TUNABLES"]?.contains("rseq=0") == true {
      #expect(
        Bigref.statistics.counting
          == .atomicAdds(reason: "the C library could not register its threads for them"))
    }
    let count = Bigref()
    #expect(count.storage.phase == (ProcessorCell.isRestartable ? .live : .shared))
  }

  /// Exit tests inherit the variable: their traps are those of this way, too.
  @Test func everythingHoldsWithoutSequences() async {
    let run = await TestProcess.run(
      ["QUIESCENCE_NO_RSEQ": "1"], "--filter", "BigrefTests", "--skip", "everythingHolds")
    #expect(run.status == 0, "\(run.output)")
    // The check of the check: the tests were found.
    #expect(run.output.contains("countingIsChosenAtTheStart() passed"), "\(run.output)")
    #expect(run.output.contains("countersSurvive() passed"), "\(run.output)")
  }

  /// An old kernel, valgrind, an emulator: the C library says that it is not registered. A tunable has it do so.
  @Test func everythingHoldsWhereTheLibraryIsNotRegistered() async {
    let run = await TestProcess.run(
      ["GLIBC_TUNABLES": "glibc.pthread.rseq=0"], "--filter", "countingIsChosenAtTheStart", "--filter",
      "BigrefTests.BigrefTests")
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("countingIsChosenAtTheStart() passed"), "\(run.output)")
  }
}
