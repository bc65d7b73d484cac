import ArgumentParser
import Foundation

/// The command line.
@main
struct Ratios: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ratios",
    abstract: "Measure this library beside liburcu in C, in one run.",
    discussion: """
      A ratio taken in one run counts; an absolute figure is the machine's. Contenders take turns round by round, \
      on pinned threads that start together and stay busy until the last one has finished. A figure is the best \
      round, with the median beside it. The exit status is 1 when a wanted ratio or figure is missed, \
      and standard error says which.

      Example:
        ratios --only read,grace-period --rounds 25 --format json
      """)

  @Option(help: "How to print: text, or json with one object a line.")
  var format = ReportFormat.text

  @Option(help: ArgumentHelp("Experiments, separated by commas (default: all).", valueName: "name,…"))
  var only = Selection(experiments: ExperimentName.allCases)

  @Option(help: ArgumentHelp("Rounds of each experiment (default: 21; 5 with --quick).", valueName: "n"))
  var rounds: Int?

  @Flag(help: "Shorter and fewer rounds: shows that everything runs; figures jitter.")
  var quick = false

  /// The check of the check: the Swift reader of `Memb` retains an object in each section.
  @Flag(help: .hidden)
  var retainOnPurpose = false

  func validate() throws {
    if let rounds, !(1...100_000).contains(rounds) { throw ValidationError("--rounds is from 1 to 100000.") }
  }

  func run() async throws {
    do {
      let machine = try Machine.current()
      let report = Report(format: format)
      report.begin(machine)
      let scale = Scale(rounds: rounds ?? (quick ? 5 : 21), isQuick: quick)
      for name in only.experiments {
        let experiment: any Experiment =
          switch name {
          case .read: ReadExperiment(retainsOnPurpose: retainOnPurpose)
          case .retire: RetireExperiment()
          case .gracePeriod: GracePeriodExperiment()
          case .wait: WaitExperiment()
          }
        report.begin(experiment)
        for skipped in experiment.skipped(on: machine) { report.skip(skipped, of: experiment) }
        for row in try await experiment.measure(on: machine, scale) { report.add(row) }
      }
      if !report.finish() { throw ExitCode(1) }
    } catch let error as MeasurementError {
      StandardError.write("ratios: \(error.description)")
      throw ExitCode(2)
    }
  }
}

/// The names of the experiments on the command line, in the order in which they run.
enum ExperimentName: String, CaseIterable {
  case read, retire
  case gracePeriod = "grace-period"
  case wait
}

/// The value of `--only`.
struct Selection: ExpressibleByArgument {
  let experiments: [ExperimentName]

  init(experiments: [ExperimentName]) {
    self.experiments = experiments
  }

  init?(argument: String) {
    var chosen: Set<ExperimentName> = []
    for part in argument.split(separator: ",") {
      guard let name = ExperimentName(rawValue: String(part)) else { return nil }
      chosen.insert(name)
    }
    if chosen.isEmpty { return nil }
    experiments = ExperimentName.allCases.filter(chosen.contains)
  }

  var defaultValueDescription: String { experiments.map(\.rawValue).joined(separator: ",") }

  static var allValueStrings: [String] { ExperimentName.allCases.map(\.rawValue) }
}

/// Lines for people, also when standard output is a program's.
enum StandardError {
  static func write(_ line: String) {
    FileHandle.standardError.write(Data("\(line)\n".utf8))
  }
}
