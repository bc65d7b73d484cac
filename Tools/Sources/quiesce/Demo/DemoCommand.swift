import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import Relay
import ToolSupport

/// `quiesce demo`
struct DemoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Load and unload modules under live traffic, and check that nothing is lost.",
    usage: """
      quiesce demo [--replace] [--seconds <n>] [--format <format>]
        [--workers <n>] [--module-directory <path>]
      """,
    discussion: """
      Starts a `quiesce host`, an echo server behind it and a client in front of it that checks every byte \
      of every answer, and meanwhile loads and unloads the sample modules as fast as it can. The exit status \
      is 0 only when no datagram was lost or damaged and every module's code was checked to be gone.

      With --replace one module is replaced by another version as often as it can be. Each version marks the \
      datagrams that it sees: the exit status is 0 only when each datagram was also seen by exactly one version \
      on each way.

      Example:
        quiesce demo --seconds 5 --format json
      """)

  @Flag(help: "Replace a module by another version, again and again.")
  var replace = false

  @Option(help: ArgumentHelp("How many seconds it runs.", valueName: "n"))
  var seconds = 10.0

  @Option(help: "How to print: text, or json with one object a line.")
  var format = RunFormat.text

  @Option(help: ArgumentHelp("Threads that relay.", valueName: "n"))
  var workers = 2

  @Option(
    help: ArgumentHelp(
      "Where the sample modules are (default: `modules` beside this program).", valueName: "path"))
  var moduleDirectory: String?

  func validate() throws {
    if !(seconds > 0 && seconds <= 1e6) {
      throw ValidationError("--seconds is more than 0, and at the most 1000000.")
    }
    if !(1...1024).contains(workers) { throw ValidationError("--workers is from 1 to 1024.") }
  }

  func run() throws {
    // Before any thread starts: each takes over what is blocked here.
    let interruption = Interruption()
    try reporting {
      let demo = try Demo(
        seconds: seconds, workers: workers,
        moduleDirectory: moduleDirectory ?? HostCommand.defaultModuleDirectory,
        isReplacing: replace, output: DemoOutput(format, isReplacing: replace), interruption: interruption)
      for complaint in demo.run() { StandardError.write("quiesce: demo: \(complaint)") }
      if !demo.isFlawless { throw ExitCode(1) }
    }
  }
}
