import Foundation
import Testing
import Torture

/// A torture that cannot fail shows nothing: whatever is broken must be found.
@Suite(.serialized) struct BreakageTests {
  @Test(arguments: FlavorName.allCases, Breakage.allCases)
  func isCaught(in flavor: FlavorName, _ breakage: Breakage) async throws {
    // The usual ten seconds: a run that does not catch it in that time ends with another status.
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

  @Test func theCatchIsSaid() async throws {
    let outcome = try await TortureChild.run("--break", "leak")
    #expect(outcome.status == 1)
    #expect(outcome.output.contains("caught: lost_callbacks"))
  }

  /// One callback in a thousand is dropped, and so short a run has none that it could drop.
  @Test func whatWasNotCaughtHasAStatusOfItsOwn() async throws {
    let outcome = try await TortureChild.run(
      "--break", "leak", "--seconds", "0.001", "--readers", "1", "--writers", "1", "--fake-writers", "0",
      "--without", "flood", "--without", "churn")
    #expect(outcome.status == 3, "\(outcome.output)")
    #expect(outcome.output.contains("not caught"))
  }
}
