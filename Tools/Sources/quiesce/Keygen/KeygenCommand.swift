import ArgumentParser
import Foundation
import ModuleSigning
import ToolSupport

/// `quiesce keygen`
struct KeygenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keygen",
    abstract: "Make a key that signs modules.",
    discussion: """
      Writes the private key to the file, which only you can read, and the public key to a file beside it whose name \
      ends in `.pub`. Files that are there are never overwritten. The private key signs modules (`quiesce sign`); the \
      public one tells a host whose modules to load (`quiesce host --require-signed`).

      Example:
        quiesce keygen builds.key --name builds@example.org
      """)

  @Argument(help: "The new file for the private key.")
  var file: String

  @Option(help: ArgumentHelp("What signatures call you (default: the file's name).", valueName: "name"))
  var name: String?

  func run() throws {
    try reporting {
      let key = try SigningKey(named: name ?? (file as NSString).lastPathComponent)
      try key.write(to: file)
      StandardOutput.write("\(file).pub: key \(key.verifyingKey.identifier), '\(key.name)'")
    }
  }
}
