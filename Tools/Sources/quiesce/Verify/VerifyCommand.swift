import ArgumentParser
import ModuleFiles
import ModuleSigning

/// `quiesce verify`
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check the signatures of modules.",
    usage: "quiesce verify --key <file> [--key <file> ...] <files> ...",
    discussion: """
      Checks each file as `quiesce host --require-signed` does: whether one of the keys has signed it, and whether it \
      is what was signed. Prints a line for each file. The exit status is 1 if a file is refused.

      Example:
        quiesce verify --key builds.key.pub modules/counter.so
      """)

  @Option(
    help: ArgumentHelp(
      "A public key; this option can be repeated, and one of the keys suffices.", valueName: "file"))
  var key: [String]

  @Argument(help: "The files of modules.")
  var files: [String]

  func validate() throws {
    if key.isEmpty { throw ValidationError("--key names a public key, for example builds.key.pub.") }
  }

  func run() throws {
    try reporting {
      let keys = try key.map { (path) throws(ModuleFileError) in try VerifyingKey(path: path) }
      try ForEach.file(files, of: "verify") { (path) throws(ModuleFileError) in
        try RegularFile(path: path).verify(by: keys)
      }
    }
  }
}
