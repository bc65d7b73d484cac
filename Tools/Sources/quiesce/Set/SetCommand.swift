import ArgumentParser
import ControlClient
import ControlProtocol
import ToolSupport

/// `quiesce set`
struct SetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set",
    abstract: "Show or change the parameters of a module of a running host.",
    usage: """
      quiesce set <module> [<parameter=value> ...] [--format <format>]
        [--control <path>]
      """,
    discussion: """
      Without PARAMETER=VALUE it prints their values, and which of them can be changed now. A change is checked first, \
      and the module may refuse it; then nothing has changed. Of several changes, the first that is refused ends the \
      command.

      Example:
        quiesce set drop limit=128
      """)

  @Argument(help: "The module's name, as lsmod shows it.")
  var module: String

  @Argument(help: ArgumentHelp("The new value of a parameter.", valueName: "parameter=value"))
  var parameters: [String] = []

  @Option(help: "How to print: table or json.")
  var format = OutputFormat.table

  @OptionGroup var options: ControlOptions

  func validate() throws { _ = try ParameterWord.all(parameters) }

  func run() throws {
    try reporting {
      let client = try options.connect()
      for parameter in parameters.compactMap(ParameterWord.init) {
        try client.set(parameter.name, of: module, to: parameter.value)
      }
      if !parameters.isEmpty { return }
      let rows = try client.parameters(of: module)
      switch format {
      case .table:
        for row in rows {
          let note = row.writable ? ", writable" : ""
          StandardOutput.write("\(row.parameter)=\(row.value)  (\(row.type)\(note))")
        }
      case .json: StandardOutput.write(try JSON.line(rows))
      }
    }
  }
}
