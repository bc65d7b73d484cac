import Foundation
import ModuleManager
import TestSupport
import Testing

/// Every scheme in the storm. `STORM_SECONDS` makes it longer: see `Scripts/storm`.
@Suite(.exclusive) struct StormTests {
  @Test(arguments: UnloadScheme.all)
  func everySchemeOutlivesIt(_ scheme: UnloadScheme) async {
    let seconds = ProcessInfo.processInfo.environment["STORM_SECONDS"].flatMap(Double.init)
    let end = seconds.map { ContinuousClock.now + .seconds($0) }
    let enough = 30
    let outcome = await Storm(scheme) { unloads in
      if let end { return ContinuousClock.now >= end }
      return unloads >= enough
    }.run()
    #expect(outcome.wrong.isEmpty, "\(outcome.wrong.prefix(5))")
    #expect(outcome.unloads >= (seconds == nil ? enough : 1))
    #expect(outcome.failedInits > 0)
    #expect(outcome.calls > 0)
    if seconds != nil {
      print(
        "\(scheme): \(outcome.calls) calls, \(outcome.unloads) unloads, \(outcome.refusals) refused, "
          + "\(outcome.failedInits) failed inits, \(outcome.wrong.count) wrong")
    }
  }
}
