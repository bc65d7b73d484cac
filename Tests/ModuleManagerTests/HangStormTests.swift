import Foundation
import ModuleManager
import TestSupport
import Testing

/// Every scheme, with modules that hang in each of their functions. `STORM_SECONDS` makes it
/// longer: see `Scripts/storm`.
@Suite(.exclusive) struct HangStormTests {
  @Test(arguments: UnloadScheme.all)
  func requestsAreAnsweredAndNothingIsLeftBehind(_ scheme: UnloadScheme) async {
    await #expect(processExitsWith: .exitCode(23)) { [name = scheme.name as String] in
      guard let scheme = UnloadScheme.named(name) else { exit(1) }
      let seconds = ProcessInfo.processInfo.environment["STORM_SECONDS"].flatMap(Double.init)
      // The first one starts what stays in the process; the second is looked at.
      for round in 0..<2 {
        let modules = HangStorm.Modules("\(name)-\(round)", scheme)
        let before = Resources.now
        let end = ContinuousClock.now + .seconds(seconds ?? 0)
        let enough = round == 0 ? 50 : 300
        let outcome = await HangStorm(scheme, modules) { requests in
          if round > 0, seconds != nil { return ContinuousClock.now >= end }
          return requests >= enough
        }.run()
        guard outcome.wrong.isEmpty, outcome.requests >= (seconds == nil ? enough : 1), outcome.overdue > 0
        else {
          print("\(name): \(outcome)")
          exit(2)
        }
        // Where the storm is alone on the machine: how late an answer is, beside a plain wait.
        if seconds != nil && outcome.latest > .milliseconds(100) + outcome.latestWait {
          print(
            "\(name): an answer came \(outcome.latest) after its limit, a plain wait \(outcome.latestWait) late"
          )
          exit(3)
        }
        if seconds != nil && round > 0 {
          print(
            "\(name): \(outcome.requests) requests, \(outcome.overdue) ended early, latest \(outcome.latest) after its limit"
          )
        }
        // Threads end after the manager has gone; one that stays is waited for in vain.
        let patience = ContinuousClock.now + .seconds(600)
        while round > 0 && !(Resources.now <= before) {
          if ContinuousClock.now > patience {
            print("\(name): \(Resources.now) left, \(before) before")
            exit(4)
          }
          await Task.yield()
        }
      }
      exit(23)
    }
  }

  /// What a process has.
  private struct Resources {
    let threads: [String]
    let descriptors: Int

    static var now: Resources {
      let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? []
      let names = tasks.map {
        (try? String(contentsOfFile: "/proc/self/task/\($0)/comm", encoding: .utf8)) ?? ""
      }
      let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0
      return Resources(threads: names.filter { $0.hasPrefix("module") }.sorted(), descriptors: descriptors)
    }

    static func <= (left: Resources, right: Resources) -> Bool {
      left.threads.count <= right.threads.count && left.descriptors <= right.descriptors
    }
  }
}
