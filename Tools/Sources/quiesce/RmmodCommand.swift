import ArgumentParser
import Control

/// `quiesce rmmod`
struct RmmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rmmod",
    abstract: "Unload a module from a running host.",
    discussion: """
      A module in use stays as it is, and the answer names who holds it (EBUSY); so does one that others need \
      (EWOULDBLOCK). With --wait it takes no new users, and goes when the last one lets go; if that takes longer \
      than SECONDS, it serves on as before (ETIMEDOUT). With --when-idle it serves on meanwhile and takes new users, \
      and goes at the first moment when it has none.

      Example:
        quiesce rmmod --wait 5 conntrack
      """)

  @Argument(help: "The module's name, as lsmod shows it.")
  var module: [String] = []

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("Wait for the module's users instead of answering EBUSY.", valueName: "seconds"))
  var wait: String?

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("The same, and let new users in meanwhile.", valueName: "seconds"))
  var whenIdle: String?

  private var limit: String? { wait ?? whenIdle }
  /// What the option took for its value is the module, when there is no other.
  private var isModuleBehindOption: Bool { module.isEmpty && limit != nil && limit != "for ever" }
  private var name: String? { isModuleBehindOption ? limit : module.first }
  private var seconds: Double? { isModuleBehindOption ? nil : limit.flatMap(Double.init) }

  func validate() throws {
    if wait != nil && whenIdle != nil { throw ValidationError("--wait and --when-idle exclude each other.") }
    if name == nil || module.count > 1 { throw ValidationError("Name one module.") }
    if isModuleBehindOption && Double(limit ?? "") != nil { throw ValidationError("Name one module.") }
    if !isModuleBehindOption, let limit, limit != "for ever", !(0...1e9).contains(Double(limit) ?? -1) {
      let option = wait == nil ? "--when-idle" : "--wait"
      throw ValidationError("\(option) takes a number of seconds, from 0 to 1000000000.")
    }
  }

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let reply = try options.connect().rmmod(
        name ?? "", wait: wait != nil, whenIdle: whenIdle != nil, seconds: seconds)
      if let reason = reply.residentReason {
        StandardOutput.write("\(reply.module): unloaded, but its image stays mapped: \(reason)")
      } else {
        StandardOutput.write("\(reply.module): unloaded in \(reply.unloadMicroseconds) µs")
      }
    }
  }
}
