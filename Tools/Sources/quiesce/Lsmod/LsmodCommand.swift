import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import ToolSupport

/// `quiesce lsmod`
struct LsmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lsmod",
    abstract: "List the modules of a running host.",
    discussion: """
      With --unloaded it lists the modules that were unloaded last, at most eight, the latest first: when, how (unloaded; \
      failed: its init; forced; resident: its image stayed mapped), and the file that each was loaded from.

      Example:
        quiesce lsmod --format json | jq '.[].module'
      """)

  @Option(help: "How to print: table or json.")
  var format = OutputFormat.table

  @Flag(help: "List the modules that were unloaded last.")
  var unloaded = false

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      if unloaded {
        let rows = try options.connectReadOnly().unloaded()
        switch format {
        case .table: for line in ModuleTable(rows).lines { StandardOutput.write(line) }
        case .json: StandardOutput.write(try JSON.line(rows))
        }
        return
      }
      let modules = try options.connectReadOnly().lsmod()
      switch format {
      case .table:
        for line in ModuleTable(modules).lines { StandardOutput.write(line) }
      case .json:
        StandardOutput.write(try JSON.line(modules))
      }
    }
  }
}
