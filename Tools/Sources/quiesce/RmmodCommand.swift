import ArgumentParser
import Control

/// `quiesce rmmod`
struct RmmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rmmod",
    abstract: "Unload modules from a running host.",
    discussion: """
      A module in use stays as it is, and the answer names its holders (EBUSY); so does one that others need \
      (EWOULDBLOCK). With --wait it takes no new users, and goes when the last one releases it; if that takes longer \
      than SECONDS, it serves on as before (ETIMEDOUT). With --when-idle it serves on meanwhile and takes new users, \
      and goes at the first moment when it has none.

      Several go together, those first that need others, and wait for readers once. What can go goes, whatever else \
      stays; the exit status is 1 when one stays.

      Example:
        quiesce rmmod --wait 5 conntrack
      """)

  @Argument(help: ArgumentHelp("The modules' names, as lsmod shows them.", valueName: "module"))
  var modules: [String] = []

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("Wait for the module's users instead of answering EBUSY.", valueName: "seconds"))
  var wait: String?

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("The same, and let new users in meanwhile.", valueName: "seconds"))
  var whenIdle: String?

  private var limit: String? { wait ?? whenIdle }
  /// What the option took for its value is a module, when it looks like no number.
  private var isModuleBehindOption: Bool {
    guard let limit, limit != "for ever", Double(limit) == nil else { return false }
    return limit.first.map { !$0.isNumber && !"+-.".contains($0) } ?? false
  }
  private var names: [String] { (isModuleBehindOption ? [limit ?? ""] : []) + modules }
  private var seconds: Double? { limit.flatMap(Double.init) }

  func validate() throws {
    if wait != nil && whenIdle != nil { throw ValidationError("--wait and --when-idle exclude each other.") }
    if names.isEmpty { throw ValidationError("Name a module.") }
    if let limit, limit != "for ever", !isModuleBehindOption, !(0...1e9).contains(Double(limit) ?? -1) {
      let option = wait == nil ? "--when-idle" : "--wait"
      throw ValidationError("\(option) takes a number of seconds, from 0 to 1000000000.")
    }
  }

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let (client, names) = (try options.connect(), names)
      let (wait, whenIdle, seconds) = (wait != nil, whenIdle != nil, seconds)
      if names.count == 1 {
        show(
          try options.showingProgress(of: names) { () throws(ControlError) in
            try client.rmmod(names[0], wait: wait, whenIdle: whenIdle, seconds: seconds)
          })
        return
      }
      let rows = try options.showingProgress(of: names) { () throws(ControlError) in
        try client.rmmod(together: names, wait: wait, whenIdle: whenIdle, seconds: seconds)
      }
      for row in rows {
        if let reply = row.unloaded { show(reply) }
        if let error = row.error { Hint.write(error, of: "rmmod") }
      }
      if rows.contains(where: { $0.error != nil }) { throw ExitCode(1) }
    }
  }

  private func show(_ reply: RmmodReply) {
    if let reason = reply.residentReason {
      StandardOutput.write("\(reply.module): unloaded, but its image stays mapped: \(reason)")
    } else {
      StandardOutput.write("\(reply.module): unloaded in \(reply.unloadMicroseconds) µs")
    }
  }
}
