import ArgumentParser
import Control
import Foundation
import ModuleManager

/// `quiesce host`
struct HostCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "host",
    abstract: "Relay UDP datagrams through the hooks of modules.",
    discussion: """
      Prints one line that starts with `listening` when it serves. Modules' log lines and life-cycle events go \
      to standard error. SIGTERM or SIGINT unloads every module and ends the host.

      Example:
        quiesce host --listen 127.0.0.1:4000 --forward 127.0.0.1:5000 --workers 2
      """)

  @Option(help: ArgumentHelp("Where clients send to; port 0 takes any.", valueName: "address:port"))
  var listen: String

  @Option(help: ArgumentHelp("Where datagrams go on to.", valueName: "address:port"))
  var forward: String

  @Option(help: "Threads that relay.")
  var workers = ProcessInfo.processInfo.activeProcessorCount

  @Option(
    help: ArgumentHelp(
      "Where modules are looked up by name (default: `modules` beside this program).", valueName: "path"))
  var moduleDirectory: String?

  @Option(
    help: ArgumentHelp(
      "Rules for modules in `*.toml`: aliases, options, blacklists (default: none).", valueName: "path"))
  var configuration: String?

  @Option(help: ArgumentHelp("A flow without datagrams is forgotten after this.", valueName: "seconds"))
  var flowTimeout = 60.0

  @Flag(help: .hidden)
  var exitWithParent = false

  @OptionGroup var options: ControlOptions

  func validate() throws {
    if !(1...1024).contains(workers) { throw ValidationError("--workers is from 1 to 1024.") }
    if !(flowTimeout > 0 && flowTimeout <= 1e9) {
      throw ValidationError("--flow-timeout is more than 0 seconds, and at the most 1000000000.")
    }
  }

  func run() throws {
    let signals = TerminationSignals()
    try reporting {
      if exitWithParent {
        let error = TerminationSignals.sendWithParent()
        if error != 0 { throw ControlError(error, "cannot watch the parent process") }
      }
      // The default one may be missing: modules can be loaded by path all the same.
      if let moduleDirectory { try Host.checkDirectory(moduleDirectory) }
      let rules = try configuration.map { try ConfigurationDirectory(path: $0).configuration }
      let host = try Host(
        listen: listen, forward: forward, workers: workers, flowTimeout: .seconds(flowTimeout),
        control: options.path, moduleDirectory: moduleDirectory ?? Self.defaultModuleDirectory,
        configuration: rules ?? ModuleConfiguration())
      try host.start()
      StandardOutput.write(host.greeting)
      signals.wait()
      if !host.stop(within: .seconds(10)) { throw ExitCode(1) }
    }
  }

  /// `modules` in the folder of the executable.
  static var defaultModuleDirectory: String {
    let executable =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      ?? CommandLine.arguments[0]
    return (executable as NSString).deletingLastPathComponent + "/modules"
  }
}
