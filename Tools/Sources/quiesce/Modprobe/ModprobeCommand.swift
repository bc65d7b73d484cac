import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import ToolSupport

/// `quiesce modprobe`
struct ModprobeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "modprobe",
    abstract: "Load modules into a running host with what they need, or unload them.",
    usage: """
      quiesce modprobe [<name> [<parameter=value> ...] ...] [--remove]
        [--first-time] [--dry-run] [--show-depends] [--resolve-alias]
        [--show-config] [--quiet] [--control <path>]
      """,
    discussion: """
      Modules are found by name or alias in the host's module directory, see depmod. A module that is loaded already is \
      not changed. --remove also unloads the modules that were loaded only because others need or want them, once none does.

      Example:
        quiesce modprobe --dry-run conntrack
        quiesce modprobe drop limit=64 conntrack
      """)

  @Argument(
    help: ArgumentHelp(
      "Names or aliases, each followed by the values of its own parameters.",
      valueName: "name parameter=value"))
  var words: [String] = []

  @Flag(name: [.customShort("r"), .long], help: "Unload instead of loading.")
  var remove = false

  @Flag(help: "Fail if the module is loaded already, or with --remove if it is not loaded.")
  var firstTime = false

  @Flag(
    name: [.customShort("n"), .long],
    help: "Print the commands that would be run, one on each line, and run none.")
  var dryRun = false

  @Flag(
    name: [.customShort("D"), .long], help: "As --dry-run, including the modules that are loaded already.")
  var showDepends = false

  @Flag(
    name: [.customShort("R"), .long],
    help: "Print the modules that a name or an alias stands for, and load none."
  )
  var resolveAlias = false

  @Flag(
    name: [.customShort("c"), .long],
    help: "Print the host's configuration, in the format of its files, and load nothing.")
  var showConfig = false

  @Flag(name: [.customShort("q"), .long], help: "Print no message if there is no such module.")
  var quiet = false

  @OptionGroup var options: ControlOptions

  /// What begins with `NAME=` belongs to the module before.
  private func modules() throws -> [(name: String, parameters: [String: String])] {
    var modules: [(name: String, words: [String])] = []
    for word in words {
      if ParameterWord(word) == nil {
        modules.append((word, []))
      } else if modules.isEmpty {
        throw ValidationError("'\(word)' has no module before it.")
      } else {
        modules[modules.count - 1].words.append(word)
      }
    }
    return try modules.map { ($0.name, try ParameterWord.all($0.words)) }
  }

  func validate() throws {
    if remove, try modules().contains(where: { !$0.parameters.isEmpty }) {
      throw ValidationError("Parameters are not for --remove.")
    }
    _ = try modules()
    if showConfig != words.isEmpty {
      throw ValidationError(showConfig ? "--show-config takes no names." : "Name a module.")
    }
    if remove && resolveAlias { throw ValidationError("--resolve-alias is not for --remove.") }
    if remove && showDepends { throw ValidationError("--show-depends is not for --remove.") }
  }

  func run() throws {
    var failed = false
    try reporting {
      if showConfig {
        StandardOutput.write(bytes: ConfigurationText(try options.connect().configuration()).text.utf8)
        return
      }
      let client = try options.connect()
      // What can be done is done, whatever else cannot.
      for (name, parameters) in try modules() {
        do throws(ControlError) {
          if resolveAlias {
            try resolve(name, client)
          } else {
            try remove ? unload(name, client) : load(name, parameters, client)
          }
        } catch {
          failed = true
          if !quiet || error.errno != ENOENT { Hint.write(error, of: "modprobe") }
        }
      }
    }
    if failed { throw ExitCode(1) }
  }

  private func load(
    _ name: String, _ parameters: [String: String], _ client: ControlClient
  ) throws(ControlError) {
    let (firstTime, isShown) = (firstTime, dryRun || showDepends)
    let reply = try options.showingProgress(of: [name]) { () throws(ControlError) in
      try client.request(name, parameters: parameters, firstTime: firstTime, dryRun: isShown)
    }
    for module in reply.modules where showDepends || !module.wasLoaded {
      StandardOutput.write(
        dryRun || showDepends ? "insmod \(module.path)" : "\(module.module): loaded")
    }
  }

  private func resolve(_ name: String, _ client: ControlClient) throws(ControlError) {
    for module in try client.request(name, dryRun: true).modules where !module.isDependency {
      StandardOutput.write(module.module)
    }
  }

  private func unload(_ name: String, _ client: ControlClient) throws(ControlError) {
    let (firstTime, dryRun) = (firstTime, dryRun)
    let reply = try options.showingProgress(of: [name]) { () throws(ControlError) in
      try client.remove(name, firstTime: firstTime, dryRun: dryRun)
    }
    for module in reply.modules { StandardOutput.write(dryRun ? "rmmod \(module)" : "\(module): unloaded") }
    if let reason = reply.residentReason {
      StandardOutput.write("\(name): its image stays mapped: \(reason)")
    }
  }
}
