import ArgumentParser
import Control

/// `quiesce insmod`
struct InsmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "insmod",
    abstract: "Load a module into a running host.",
    discussion: """
      Example:
        quiesce insmod conntrack
      """)

  @Argument(help: "A name (NAME.so in the host's module directory), or a path, which has a `/` in it.")
  var module: String

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let reply = try options.connect().insmod(module)
      StandardOutput.write("\(reply.module): loaded")
    }
  }
}
