import ArgumentParser
import ControlClient
import ControlProtocol
import ToolSupport

/// `quiesce insmod`
struct InsmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "insmod",
    abstract: "Load a module into a running host.",
    discussion: """
      The command ends after the module's `init`, and fails if that fails. A module whose dependencies are not loaded is \
      refused: modprobe loads them first.

      Example:
        quiesce insmod ./drop.so limit=64
      """)

  @Argument(help: "A name (NAME.so in the host's module directory), or a path that contains a `/`.")
  var module: String

  @Argument(
    help: ArgumentHelp("The values of its parameters; modinfo lists them.", valueName: "parameter=value"))
  var parameters: [String] = []

  @OptionGroup var options: ControlOptions

  func validate() throws { _ = try ParameterWord.all(parameters) }

  func run() throws {
    try reporting {
      let (client, parameters) = (try options.connect(), try ParameterWord.all(parameters))
      let reply = try options.showingProgress(of: [module]) { () throws(ControlError) in
        try client.insmod(module, parameters: parameters)
      }
      StandardOutput.write("\(reply.module): loaded")
    }
  }
}
