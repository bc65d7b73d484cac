import Foundation
import Testing
import Torture

/// A torture that cannot fail proves nothing: every breakage must be found.
@Suite(.serialized) struct BreakageTests {
  @Test(arguments: FlavorName.allCases, Breakage.allCases)
  func breakageIsCaught(in flavor: FlavorName, _ breakage: Breakage) async throws {
    // The default ten seconds: a run that does not catch the breakage in that time has another exit
    // status.
    let outcome = try await TortureChild.run(
      "--flavor", flavor.rawValue, "--break", breakage.rawValue, "--format", "json")
    #expect(outcome.status == 1, "\(outcome.output) \(outcome.error)")
    let summary = try outcome.summary()
    #expect(summary.breakage == breakage)
    #expect(summary.failures > 0)
    #expect(summary.firstFailure != nil)
    let finders: Set<Failure> =
      switch breakage {
      case .noGracePeriod: [.sectionErrors, .overtaken, .pollErrors, .earlyCallbacks]
      case .earlyFree: [.usedAfterFree, .publicationErrors]
      case .lostWakeup: [.hangs]
      case .leak: [.lostCallbacks]
      }
    #expect(!finders.isDisjoint(with: summary.caught.compactMap(Failure.init)), "found by \(summary.caught)")
  }

  @Test func caughtBreakageIsReported() async throws {
    let outcome = try await TortureChild.run("--break", "leak")
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("caught: lost_callbacks"))
  }

  /// One callback in a thousand is dropped, and a run as short as this one retires fewer.
  @Test func missedBreakageHasItsOwnStatus() async throws {
    let outcome = try await TortureChild.run(
      "--break", "leak", "--seconds", "0.001", "--readers", "1", "--writers", "1", "--fake-writers", "0",
      "--without", "flood", "--without", "churn")
    #expect(outcome.status == 3, "\(outcome.output)")
    #expect(outcome.output.contains("not caught"))
  }
}
