import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import ModuleManager
import ModuleSigning
import ToolSupport

/// `quiesce host`
struct HostCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "host",
    abstract: "Relay UDP datagrams through the hooks of modules.",
    usage: """
      quiesce host --listen <address:port> --forward <address:port>
        [--workers <n>] [--module-directory <path>]
        [--configuration <path>] [--read-only-control <path>]
        [--require-signed <file> ...] [--flow-timeout <seconds>]
        [--control <path>]
      """,
    discussion: """
      Prints one line that starts with `listening` when it is ready. Modules' log lines and life-cycle events go to \
      standard error; lines that are not read are dropped and counted. SIGTERM or SIGINT unloads every module and ends \
      the host, within 10 seconds. If modules stay, the host names them, with the reasons, and the exit status is 1. A \
      second signal ends it at once. With --configuration, SIGHUP reads the rules again. After a crash, the last lines on \
      standard error name the module.

      Example:
        quiesce host --listen 127.0.0.1:4000 --forward 127.0.0.1:5000 --workers 2
      """)

  @Option(
    help: ArgumentHelp("Where clients send datagrams; port 0 selects a free port.", valueName: "address:port")
  )
  var listen: String

  @Option(help: ArgumentHelp("Where the datagrams are forwarded.", valueName: "address:port"))
  var forward: String

  @Option(help: ArgumentHelp("Threads that relay.", valueName: "n"))
  var workers = ProcessInfo.processInfo.activeProcessorCount

  @Option(
    help: ArgumentHelp(
      "The directory of modules that are loaded by name (default: `modules` beside this program).",
      valueName: "path"))
  var moduleDirectory: String?

  @Option(
    help: ArgumentHelp(
      "A directory with rules in `*.toml`: aliases, options, blacklists (default: none).", valueName: "path"))
  var configuration: String?

  @Option(
    help: ArgumentHelp(
      "A second control socket that refuses every change; its mode is 0660 (default: none).",
      valueName: "path"))
  var readOnlyControl: String?

  @Option(
    help: ArgumentHelp(
      "A public key: no module is loaded that none of these keys has signed; this option can be repeated.",
      valueName: "file"))
  var requireSigned: [String] = []

  @Option(help: ArgumentHelp("A flow without datagrams is removed after this time.", valueName: "seconds"))
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
    let signals = TerminationSignals(handlesHangup: configuration != nil)
    let log = LineWriter(STDERR_FILENO, name: "quiesce: host")
    do {
      try CrashReports.install()
      if exitWithParent {
        let error = TerminationSignals.sendWithParent()
        if error != 0 { throw ControlError(error, "cannot watch the parent process") }
      }
      // The default one may be missing: modules can be loaded by path all the same.
      if let moduleDirectory { try Host.checkDirectory(moduleDirectory) }
      let keys = try requireSigned.map { path in try VerifyingKey(path: path) }
      let rules = try configuration.map { try ConfigurationDirectory(path: $0).configuration }
      let host = try Host(
        listen: listen, forward: forward, workers: workers, flowTimeout: .seconds(flowTimeout),
        control: options.path, readOnlyControl: readOnlyControl, log: log,
        moduleDirectory: moduleDirectory ?? Self.defaultModuleDirectory,
        configuration: rules ?? ModuleConfiguration(), keys: keys)
      try host.start()
      LineWriter(STDOUT_FILENO, name: "quiesce: host").write(host.greeting)
      while signals.wait() == SIGHUP, let configuration { host.readConfiguration(configuration) }
      signals.endProcessAtNext()
      let isFlawless = host.stop()
      log.flush(within: Self.flushLimit)
      // exit(3) would wait for code that does not return.
      if !isFlawless { _exit(1) }
      Self.endProcess(within: .seconds(1), log)
    } catch {
      // Through the log: a write to standard error itself may block.
      for line in Hint.lines(error, of: "host") { log.write(line) }
      log.flush(within: Self.flushLimit)
      throw ExitCode(1)
    }
  }

  private static let flushLimit = Duration.milliseconds(500)

  /// Ends the process after `limit` if it has not ended by itself: exit(3) waits for the loader's
  /// lock, which a constructor of a module holds while it runs.
  private static func endProcess(within limit: Duration, _ log: LineWriter) {
    Thread.start(named: "end") {
      Thread.sleep(forTimeInterval: limit / .seconds(1))
      log.write("quiesce: host: the process did not end: code of a module runs in the loader")
      log.flush(within: flushLimit)
      _exit(1)
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
