import Foundation
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// How the way of counting is chosen at the start of the process. The tests of this target run once
/// more, in a process without restartable sequences.
@Suite(.exclusive) struct FallbackTests {
  /// Checks the way of counting in the processes that the tests below start.
  @Test func wayOfCountingIsChosenAtStart() {
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

  /// Exit tests inherit the variable, so their traps are those of atomic additions.
  @Test func allTestsPassWithoutSequences() async {
    let run = await TestProcess.run(
      ["QUIESCENCE_NO_RSEQ": "1"], "--filter", "BigrefTests", "--skip", "allTestsPassWithoutSequences")
    #expect(run.status == 0, "\(run.output)")
    // Without this, a wrong filter that finds no tests would pass.
    #expect(run.output.contains("wayOfCountingIsChosenAtStart() passed"), "\(run.output)")
    #expect(run.output.contains("countersSurviveTorture() passed"), "\(run.output)")
  }

  /// With an old kernel, valgrind or an emulator, the C library reports that it has not registered
  /// its threads. A tunable simulates that.
  @Test func testsPassWhereThreadsAreNotRegistered() async {
    let run = await TestProcess.run(
      ["GLIBC_TUNABLES": "glibc.pthread.rseq=0"], "--filter", "wayOfCountingIsChosenAtStart", "--filter",
      "BigrefTests.BigrefTests")
    #expect(run.status == 0, "\(run.output)")
    #expect(run.output.contains("wayOfCountingIsChosenAtStart() passed"), "\(run.output)")
  }
}
