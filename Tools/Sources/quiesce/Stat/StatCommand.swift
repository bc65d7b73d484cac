import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import ToolSupport

/// `quiesce stat`
struct StatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stat",
    abstract: "Show the counters of a running host's relay.",
    discussion: """
      Datagrams, flows, and calls of modules since the host was started, one counter for each line.

      Example:
        quiesce stat --format json
      """)

  @Option(help: "How to print: table or json.")
  var format = OutputFormat.table

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let statistics = try options.connectReadOnly().stat()
      switch format {
      case .table: for line in try Self.lines(statistics) { StandardOutput.write(line) }
      case .json: StandardOutput.write(try JSON.line(statistics))
      }
    }
  }

  /// A line a counter, with its name in the JSON.
  private static func lines(_ statistics: HostStatistics) throws -> [String] {
    let data = Data(try JSON.line(statistics).utf8)
    let counters = try JSONDecoder().decode([String: Int].self, from: data).sorted { $0.key < $1.key }
    let width = counters.map(\.key.count).max() ?? 0
    return counters.map { name, value in
      name + String(repeating: " ", count: width - name.count + 2) + String(value)
    }
  }
}
