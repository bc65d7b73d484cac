import ArgumentParser
import ControlClient
import ControlProtocol
import ToolSupport

/// `quiesce replace`
struct ReplaceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace",
    abstract: "Replace a loaded module by another version, without a gap.",
    usage: """
      quiesce replace <module> <file> [<parameter=value> ...]
        [--wait <seconds>] [--control <path>]
      """,
    discussion: """
      The new version starts beside the old one, which serves meanwhile. Then it takes over: every call finds one \
      version and not the other. Parameters keep their values, unless others are given. Modules that depend on the \
      module stay. If the new version does not start, the old one serves as before.

      The old version is unloaded after the takeover. If it is in use, the answer names its holders; it is listed by \
      lsmod until they have released it. With --wait the command waits for them, at most SECONDS. A new version that \
      has not started by then leaves again (ETIMEDOUT).

      Example:
        quiesce replace filter ./2/filter.so limit=128
      """)

  @Argument(help: "The name of the module, as lsmod shows it.")
  var module: String

  @Argument(help: "A name (NAME.so in the host's module directory), or a path that contains a `/`.")
  var file: String

  @Argument(
    help: ArgumentHelp("Values in the place of the present ones.", valueName: "parameter=value"))
  var parameters: [String] = []

  @Option(
    help: ArgumentHelp("Wait for the new version's start and the old one's users.", valueName: "seconds"))
  var wait: Double?

  @OptionGroup var options: ControlOptions

  func validate() throws {
    _ = try ParameterWord.all(parameters)
    if let wait, !(0...1e9).contains(wait) {
      throw ValidationError("--wait takes a number of seconds, from 0 to 1000000000.")
    }
  }

  func run() throws {
    try reporting {
      let (client, parameters) = (try options.connect(), try ParameterWord.all(parameters))
      let reply = try options.showingProgress(of: [module]) { () throws(ControlError) in
        try client.replace(module, with: file, parameters: parameters, seconds: wait)
      }
      StandardOutput.write("\(reply.module): \(Self.text(reply))")
      // Not on standard output, where scripts expect one line.
      if let reason = reply.residentReason {
        StandardError.write("\(reply.module): its image will stay mapped after rmmod: \(reason)")
      }
    }
  }

  static func text(_ reply: ReplaceReply) -> String {
    if let reason = reply.waitsFor { return "replaced; the old version is still there: \(reason)" }
    if let reason = reply.oldResidentReason {
      return "replaced, but the image of the old version stays mapped: \(reason)"
    }
    return "replaced, the old version unloaded in \(reply.unloadMicroseconds) µs"
  }
}
