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
      Example:
        quiesce lsmod --format json | jq '.[].module'
      """)

  @Option(help: "How to print: table or json.")
  var format = OutputFormat.table

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
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
