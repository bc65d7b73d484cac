import ArgumentParser
import Foundation
import ModuleManager

/// `quiesce schemes`
struct SchemesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schemes",
    abstract: "Run the same module under the same traffic with every unload scheme, and compare.",
    usage: """
      quiesce schemes [--seconds <n>] [--format <format>] [--only <names>]
        [--module-directory <path>]
      """,
    discussion: """
      Measures for each scheme what a reference and a hook call cost, and then loads and unloads a module as often as \
      it can while a relay has traffic. The exit status is 0 if no datagram was lost and every image was unmapped.

      Example:
        quiesce schemes --seconds 5 --format json
        quiesce schemes --only bigref,one-atomic
      """)

  @Option(help: ArgumentHelp("How many seconds each scheme has traffic.", valueName: "n"))
  var seconds = 2.0

  @Option(help: "How to print: text, or json with one object a scheme.")
  var format = RunFormat.text

  @Option(help: ArgumentHelp("Schemes, separated by commas (default: all).", valueName: "names"))
  var only: String?

  @Option(
    help: ArgumentHelp(
      "Where the sample modules are (default: `modules` beside this program).", valueName: "path"))
  var moduleDirectory: String?

  func validate() throws {
    if !(seconds > 0 && seconds <= 1e6) {
      throw ValidationError("--seconds is more than 0, and at the most 1000000.")
    }
    _ = try schemes()
  }

  private func schemes() throws -> [UnloadScheme] {
    guard let only else { return UnloadScheme.all }
    return try only.split(separator: ",").map { name in
      guard let scheme = UnloadScheme.named(String(name)) else {
        let all = UnloadScheme.all.map(\.name).joined(separator: ", ")
        throw ValidationError("--only: \(name) is none of \(all).")
      }
      return scheme
    }
  }

  func run() throws {
    let directory = moduleDirectory ?? HostCommand.defaultModuleDirectory
    try reporting {
      let schemes = try schemes()
      if format == .text { SchemeRow.printHeader() }
      var isFlawless = true
      for scheme in schemes {
        let row = try SchemeRun(scheme, seconds: seconds, moduleDirectory: directory).run()
        row.print(format)
        if row.lost > 0 || row.leftMapped > 0 || row.unloads == 0 { isFlawless = false }
      }
      if !isFlawless { throw ExitCode(1) }
    }
  }
}
