import ArgumentParser
import Foundation
import ToolSupport
import Torture

/// `quiesce torture`
struct TortureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "torture",
    abstract: "Stress grace periods until one is too short, after the kernel's rcutorture.",
    usage: """
      quiesce torture [--flavor <name>] [--seconds <n>] [--readers <n>]
        [--writers <n>] [--fake-writers <n>] [--seed <n>]
        [--format <format>] [--break <kind>] [--without <phase> ...]
      """,
    discussion: """
      Runs readers with random delays, writers that wait for grace periods in every way that the library has, threads \
      that start and end, floods of callbacks, and forks. Counts what must never happen, and the ages of the elements \
      that readers see: an age of 2 means that a grace period ended too early.

      The exit status is 0 if nothing failed; 1 if something failed, also for a caught --break; 2 if the run did too \
      little to mean anything; and 3 if what --break broke was not caught.

      Example:
        quiesce torture --flavor all --seconds 60 --format json
        quiesce torture --break no-grace-period
      """)

  @Option(
    help: ArgumentHelp("memb, mb, bulletproof, qsbr, or all of them in turn.", valueName: "name")
  )
  var flavor = TortureFlavors.memb

  @Option(help: ArgumentHelp("How many seconds for each flavor.", valueName: "n"))
  var seconds = 10.0

  @Option(help: ArgumentHelp("Threads that read (default: two for each processor).", valueName: "n"))
  var readers: Int?

  @Option(help: ArgumentHelp("Threads that replace elements.", valueName: "n"))
  var writers = 2

  @Option(help: ArgumentHelp("Threads that only wait for grace periods.", valueName: "n"))
  var fakeWriters = 2

  @Option(help: ArgumentHelp("The seed of the random choices (default: random).", valueName: "n"))
  var seed: UInt64?

  @Option(help: "How to print: text, or json with one object a line.")
  var format = RunFormat.text

  @Option(
    name: .customLong("break"),
    help: ArgumentHelp("Break something on purpose, which must be caught.", valueName: "kind"))
  var breakage: Breakage?

  @Option(
    name: .customLong("without"),
    help: ArgumentHelp(
      "Leave this phase out; may be given several times.", valueName: "phase"))
  var without: [Phase] = []

  func validate() throws {
    if !(seconds > 0 && seconds <= 1e6) {
      throw ValidationError("--seconds is more than 0, and at the most 1000000.")
    }
    if let readers, !(1...1024).contains(readers) { throw ValidationError("--readers is from 1 to 1024.") }
    if !(1...256).contains(writers) { throw ValidationError("--writers is from 1 to 256.") }
    if !(0...256).contains(fakeWriters) { throw ValidationError("--fake-writers is from 0 to 256.") }
  }

  func run() throws {
    // Before any thread starts: each takes over what is blocked here.
    let interruption = Interruption()
    let output = TortureOutput(format)
    let flavors = flavor.all
    var verdicts: [TortureSummary.Verdict] = []
    for (index, flavor) in flavors.enumerated() {
      let options = options(flavor)
      output.started(options)
      let summary = try torture(options, output, interruption, isLast: index == flavors.count - 1)
      output.summary(summary)
      verdicts.append(summary.verdict)
      if summary.hasHung {
        // Its threads wait for ever; an orderly end would wait for them.
        _exit(status(of: verdicts))
      }
      if summary.isInterrupted && index < flavors.count - 1 {
        let rest = flavors[(index + 1)...].map(\.rawValue).joined(separator: ", ")
        StandardError.write("quiesce: torture: interrupted before \(rest)")
        verdicts.append(.vacuous)
        break
      }
    }
    if status(of: verdicts) != 0 { throw ExitCode(status(of: verdicts)) }
  }

  private func options(_ flavor: FlavorName) -> TortureOptions {
    var options = TortureOptions(flavor: flavor)
    options.seconds = seconds
    if let readers { options.readers = readers }
    options.writers = writers
    options.fakeWriters = fakeWriters
    if let seed { options.seed = seed }
    options.breakage = breakage
    options.phases.subtract(without)
    return options
  }

  private func torture(
    _ options: TortureOptions, _ output: TortureOutput, _ interruption: Interruption, isLast: Bool
  ) throws -> TortureSummary {
    do {
      return try Torture.run(
        options,
        isOver: { pause in
          if !interruption.wait(for: pause) { return false }
          // A user that does not want to wait for the end interrupts once more.
          interruption.endProcess {}
          return true
        },
        progress: output.progress)
    } catch {
      StandardError.write("quiesce: torture: \(error)")
      throw ExitCode(1)
    }
  }

  /// The worst one: what failed, then what was missed, then what was too little.
  private func status(of verdicts: [TortureSummary.Verdict]) -> Int32 {
    // A broken flavor that was not caught is not made good by another that was.
    if verdicts.contains(.missed) { return 3 }
    if verdicts.contains(.failed) { return 1 }
    return verdicts.contains(.vacuous) ? 2 : 0
  }
}

/// Which flavors.
enum TortureFlavors: String, CaseIterable, ExpressibleByArgument {
  case memb, mb, bulletproof, qsbr, all

  var all: [FlavorName] { FlavorName(rawValue: rawValue).map { [$0] } ?? FlavorName.allCases }
}

extension Breakage: ExpressibleByArgument {}
extension Phase: ExpressibleByArgument {}
