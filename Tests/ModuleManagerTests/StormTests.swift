import Foundation
import ModuleManager
import Synchronization
import TestSupport
import Testing

/// Every scheme in the storm. `STORM_SECONDS` sets the duration; see `Scripts/storm`.
@Suite(.exclusive) struct StormTests {
  @Test(arguments: UnloadScheme.all)
  func everySchemeSurvivesTheStorm(_ scheme: UnloadScheme) async {
    let seconds = ProcessInfo.processInfo.environment["STORM_SECONDS"].flatMap(Double.init)
    // Measured from the first unload, because the modules are compiled before that.
    let end = Shared(Mutex<ContinuousClock.Instant?>(nil))
    let enough = 30
    let outcome = await Storm(scheme) { unloads in
      if let seconds {
        return end.value.withLock { end in
          let last = end ?? ContinuousClock.now + .seconds(seconds)
          end = last
          return ContinuousClock.now >= last
        }
      }
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

  /// The watch takes calls of modules' code for stuck ones almost as soon as they begin: what
  /// follows them runs on another thread than they do, or not, as the two threads race.
  @Test(arguments: UnloadScheme.all)
  func stormPassesWhereTheQueueIsHandedOver(_ scheme: UnloadScheme) async {
    let outcome = await Storm(scheme, patience: .microseconds(20)) { $0 >= 30 }.run()
    #expect(outcome.wrong.isEmpty, "\(outcome.wrong.prefix(5))")
    #expect(outcome.unloads >= 30 && outcome.failedInits > 0 && outcome.calls > 0)
  }
}
