import ArgumentParser
import ControlClient
import ControlProtocol
import ToolSupport

/// `quiesce rmmod`
struct RmmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rmmod",
    abstract: "Unload modules from a running host.",
    usage: """
      quiesce rmmod <module> ... [--wait [<seconds>]]
        [--when-idle [<seconds>]] [--force] [--cancel] [--control <path>]
      """,
    discussion: """
      A module that is in use stays in service, and the answer names its holders (EBUSY). A module that other modules \
      need stays too (EWOULDBLOCK).

      With --wait the module refuses new users, and is unloaded when the last user releases it. If that takes longer \
      than SECONDS, the module returns to service (ETIMEDOUT). With --when-idle it stays in service and admits new users, \
      and is unloaded at the first moment without users. With --force its users are asked to release it, and the requests \
      that wait for it end. Ctrl-C ends a wait: the module stays in service. --cancel ends the waits of all clients for \
      these modules.

      Several modules are unloaded together, dependents first, and wait for readers once. A module that cannot be \
      unloaded does not keep the others; the exit status is 1 if one stays.

      Example:
        quiesce rmmod --wait 5 conntrack
      """)

  @Argument(help: ArgumentHelp("The names of the modules, as lsmod shows them.", valueName: "module"))
  var modules: [String] = []

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("Refuse new users, and wait for the last release.", valueName: "seconds"))
  var wait: String?

  @Option(
    defaultAsFlag: "for ever",
    help: ArgumentHelp("Admit new users, and wait for a moment without users.", valueName: "seconds"))
  var whenIdle: String?

  @Flag(help: "Ask the module's users to release it, and wait for them.")
  var force = false

  @Flag(help: "End the requests of all clients for these modules, and unload none.")
  var cancel = false

  private var policy: UnloadPolicy {
    if force { return .force }
    return wait != nil ? .wait : whenIdle != nil ? .whenIdle : .fail
  }

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
    if whenIdle != nil && force { throw ValidationError("--when-idle and --force exclude each other.") }
    if cancel && (policy != .fail) { throw ValidationError("--cancel goes with no other option.") }
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
      let (policy, seconds) = (policy, seconds)
      if cancel {
        for name in names {
          let count = try client.cancel(name).cancelled
          StandardOutput.write("\(name): \(count) \(count == 1 ? "request" : "requests") ended")
        }
        return
      }
      if names.count == 1 {
        show(
          try options.showingProgress(of: names) { () throws(ControlError) in
            try client.rmmod(names[0], policy, seconds: seconds)
          })
        return
      }
      let rows = try options.showingProgress(of: names) { () throws(ControlError) in
        try client.rmmod(together: names, policy, seconds: seconds)
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
