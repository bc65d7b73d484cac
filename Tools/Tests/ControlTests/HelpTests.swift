import ArgumentParser
import Foundation
import Testing

@testable import quiesce

/// What `--help` says, for each command that the program has.
@Suite struct HelpTests {
  /// A command, as the program describes it to the generator of manual pages.
  private struct Command: Decodable {
    struct Option: Decodable {
      struct Name: Decodable { let name: String }
      let preferredName: Name?
      let shouldDisplay: Bool
    }

    let commandName: String
    let superCommands: [String]?
    let discussion: String?
    let arguments: [Option]?
    let subcommands: [Command]?

    /// The words that call it: empty for `quiesce` itself.
    var words: [String] { Array(((superCommands ?? []) + [commandName]).dropFirst()) }
    var tree: [Command] { [self] + (subcommands ?? []).flatMap(\.tree) }

    /// ArgumentParser breaks lines at COLUMNS, then at the terminal's width, then at 80.
    func help() throws -> [String] {
      let outcome = try Child("env", ["COLUMNS=80", Built.quiesce] + words + ["--help"]).wait()
      try #require(outcome.status == 0 && outcome.error.isEmpty, "\(words): \(outcome.error)")
      return outcome.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }
  }

  private static func root() throws -> Command {
    struct Dump: Decodable { let command: Command }
    let outcome = try Child(Built.quiesce, ["--experimental-dump-help"]).wait()
    return try JSONDecoder().decode(Dump.self, from: Data(outcome.output.utf8)).command
  }

  private static func commands() throws -> [Command] {
    let tree = try root().tree
    // The program's own list: a description without subcommands would check nothing.
    try #require(tree.count > Quiesce.configuration.subcommands.count)
    return tree
  }

  @Test func helpOfEveryCommandFitsEightyColumns() async throws {
    try await onThread {
      for command in try Self.commands() {
        for line in try command.help() {
          #expect(line.unicodeScalars.count <= 80, "quiesce \(command.words.joined(separator: " ")): \(line)")
          // The generator of manual pages leaves other characters out.
          let isASCII = line.allSatisfy(\.isASCII)
          #expect(isASCII, "quiesce \(command.words.joined(separator: " ")): \(line)")
        }
      }
    }
  }

  /// An example stands in one line, as it is typed, and the command accepts it.
  @Test func helpOfEveryCommandHasAnExampleThatParses() async throws {
    try await onThread {
      let root = try Self.root()
      for command in try Self.commands() {
        // `help` without a name prints the help of the program.
        let described = command.words == ["help"] ? root : command
        let call = (["quiesce"] + described.words).joined(separator: " ")
        let help = try command.help()
        guard let start = help.firstIndex(of: "Example:") else {
          Issue.record("\(call) has no example")
          continue
        }
        let examples = help[(start + 1)...].prefix { $0.hasPrefix("  ") }
        #expect(examples.contains { $0.hasPrefix("  \(call) ") }, "no example of \(call): \(examples)")
        let written = (described.discussion ?? "").split(separator: "\n").map(String.init)
        for example in examples {
          #expect(written.contains(example), "\(call): an example is broken into lines: \(example)")
          for part in example.split(whereSeparator: { "&|".contains($0) }) {
            let words = part.split(separator: " ").map(String.init)
            guard words.first == "quiesce" else { continue }
            #expect(throws: Never.self, "\(example)") { try Quiesce.parseAsRoot(Array(words.dropFirst())) }
          }
        }
      }
    }
  }

  /// Usage lines that are too long for ArgumentParser, which does not break them, are written by
  /// hand.
  @Test func usageOfEveryCommandNamesEveryOption() async throws {
    try await onThread {
      for command in try Self.commands() where command.subcommands == nil && command.words != ["help"] {
        let help = try command.help()
        let start = try #require(help.firstIndex { $0.hasPrefix("USAGE: ") }, "\(command.words)")
        let usage = help[start...].prefix { !$0.isEmpty }.joined(separator: " ")
        let words = usage.split { !($0.isLetter || $0 == "-") }.map(String.init)
        for option in command.arguments ?? [] where option.shouldDisplay {
          guard let name = option.preferredName?.name, !["help", "version"].contains(name) else { continue }
          #expect(words.contains("--\(name)"), "quiesce \(command.words): --\(name) is not in the usage")
        }
      }
    }
  }
}
