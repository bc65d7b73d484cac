import ArgumentParser
import Control

/// `quiesce rmmod`
struct RmmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rmmod",
    abstract: "Unload a module from a running host.",
    discussion: """
      A module in use stays as it is, and the answer names who holds it (EBUSY). With --wait it takes no new \
      users, and goes when the last one lets go.

      Example:
        quiesce rmmod --wait conntrack
      """)

  @Argument(help: "The module's name, as lsmod shows it.")
  var module: String

  @Flag(help: "Wait for the module's users instead of answering EBUSY.")
  var wait = false

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let reply = try options.connect().rmmod(module, wait: wait)
      if let reason = reply.residentReason {
        StandardOutput.write("\(reply.module): unloaded, but its image stays mapped: \(reason)")
      } else {
        StandardOutput.write("\(reply.module): unloaded in \(reply.unloadMicroseconds) µs")
      }
    }
  }
}
