import ArgumentParser
import Control
import Foundation

/// How a command prints what it found.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

/// `quiesce lsmod`
struct LsmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lsmod",
    abstract: "List the modules of a running host.",
    discussion: """
      With --unloaded it lists the last modules that have gone instead, at most eight, the latest first: when, how \
      (unloaded; failed: its init; forced; resident: its image stayed mapped) and from where they were loaded.

      Example:
        quiesce lsmod --format json | jq '.[].module'
      """)

  @Option(help: "How to print: table or json.")
  var format = OutputFormat.table

  @Flag(help: "List the modules that have gone.")
  var unloaded = false

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      if unloaded {
        let rows = try options.connect().unloaded()
        switch format {
        case .table: for line in ModuleTable(rows).lines { StandardOutput.write(line) }
        case .json: StandardOutput.write(try JSON.line(rows))
        }
        return
      }
      let modules = try options.connect().lsmod()
      switch format {
      case .table:
        for line in ModuleTable(modules).lines { StandardOutput.write(line) }
      case .json:
        StandardOutput.write(try JSON.line(modules))
      }
    }
  }
}

/// JSON as the commands print it.
enum JSON {
  /// One line, with keys in a fixed order.
  static func line(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
