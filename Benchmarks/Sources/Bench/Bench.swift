import ArgumentParser
import Foundation

/// Reports wrong arguments in one line.
@main
enum Main {
  static func main() async {
    do {
      var command = try Bench.parse()
      try await command.run()
    } catch {
      if Bench.exitCode(for: error) != .validationFailure { Bench.exit(withError: error) }
      var message = Bench.message(for: error)
      while message.hasSuffix(".") { message.removeLast() }
      StandardError.write("bench: \(message). See bench --help.")
      exit(ExitCode.validationFailure.rawValue)
    }
  }
}

/// The command line.
struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare this library with the alternatives, in one run.",
    discussion: """
      Ratios within one run are comparable; absolute figures depend on the machine. Contenders take turns round \
      by round, on pinned threads that start together and stay busy until the last one has finished. A figure is \
      the best round but one, with the median beside it. The exit status is 1 if a promised ratio or figure is \
      missed; standard error says which.

      Example:
        bench --only read,grace-period --rounds 25 --format json
      """)

  @Option(help: "How to print: text, or json with one object a line.")
  var format = ReportFormat.text

  @Option(
    help: ArgumentHelp("Experiments, separated by commas (default: all).", valueName: "name,…"),
    transform: ExperimentName.selection)
  var only = ExperimentName.allCases

  @Option(help: ArgumentHelp("Rounds of each experiment (default: 21; 5 with --quick).", valueName: "n"))
  var rounds: Int?

  @Flag(help: "Shorter and fewer rounds: shows that everything runs; figures jitter.")
  var quick = false

  @Flag(help: "Only the figures that the project promises, and what they are compared with.")
  var promised = false

  @Option(help: ArgumentHelp("Writes the rows to a file as well, as JSON.", valueName: "path"))
  var output: String?

  /// The version that the Swift compiler reports.
  @Option(help: .hidden)
  var compiler: String?

  /// For the test of the benchmark itself: the Swift reader of `Memb` retains an object in each
  /// section.
  @Flag(help: .hidden)
  var retainOnPurpose = false

  func validate() throws {
    if let rounds, !(1...100_000).contains(rounds) { throw ValidationError("--rounds is from 1 to 100000.") }
  }

  func run() async throws {
    do {
      let machine = try Machine.current(compiler: compiler)
      let report = Report(format: format, file: try outputFile())
      report.begin(machine)
      let scale = Scale(rounds: rounds ?? (quick ? 5 : 21), isQuick: quick, promisedOnly: promised)
      for name in only {
        let experiment = self.experiment(name)
        if promised && !experiment.hasPromises { continue }
        report.begin(experiment)
        for skipped in experiment.skipped(on: machine) { report.skip(skipped, of: experiment) }
        for row in try await experiment.measure(on: machine, scale) { report.add(row) }
      }
      if !report.finish() { throw ExitCode(1) }
    } catch let error as MeasurementError {
      StandardError.write("bench: \(error.description)")
      throw ExitCode(2)
    }
  }

  private func experiment(_ name: ExperimentName) -> any Experiment {
    switch name {
    case .read: ReadExperiment(retainsOnPurpose: retainOnPurpose)
    case .update: UpdateExperiment()
    case .section: SectionExperiment()
    case .gracePeriod: GracePeriodExperiment()
    case .oversubscribed: OversubscribedExperiment()
    case .retire: RetireExperiment()
    case .bigref: BigrefExperiment()
    case .sleepable: SleepableExperiment()
    case .dictionary: DictionaryExperiment()
    case .list: ListExperiment()
    case .queue: QueueExperiment()
    case .pointer: PointerExperiment()
    case .hooks: HooksExperiment()
    case .unload: UnloadExperiment()
    case .urcu: URCUExperiment()
    }
  }

  private func outputFile() throws -> FileHandle? {
    guard let output else { return nil }
    guard FileManager.default.createFile(atPath: output, contents: nil),
      let file = FileHandle(forWritingAtPath: output)
    else { throw MeasurementError("cannot write to \(output)") }
    return file
  }
}

/// The names of the experiments on the command line, in the order in which they run.
enum ExperimentName: String, CaseIterable {
  case read, update, section
  case gracePeriod = "grace-period"
  case oversubscribed, retire, bigref, sleepable, dictionary, list, queue, pointer, hooks, unload, urcu

  /// The value of `--only`.
  static func selection(_ argument: String) throws -> [ExperimentName] {
    let names = argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    if let wrong = names.first(where: { ExperimentName(rawValue: $0) == nil }) {
      let all = allCases.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("there is no experiment '\(wrong)'; there are \(all).")
    }
    return allCases.filter { names.contains($0.rawValue) }
  }
}

/// Messages for people, also when another program reads standard output.
enum StandardError {
  static func write(_ line: String) {
    FileHandle.standardError.write(Data("\(line)\n".utf8))
  }
}
