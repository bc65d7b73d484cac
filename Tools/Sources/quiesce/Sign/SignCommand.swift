import ArgumentParser
import ModuleFiles
import ModuleSigning
import ToolSupport

/// `quiesce sign`
struct SignCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sign",
    abstract: "Sign modules.",
    discussion: """
      Appends a signature to each file, in place of one that is there. The signature covers every byte of the file, so \
      a file is signed last: `strip` removes it. A file that is copied or renamed stays signed. Each file is replaced \
      as a whole; what is loaded from it is not disturbed.

      Prints a line for each file. A file that is not a module is refused; then the exit status is 1, and the other \
      files are signed.

      Example:
        quiesce sign --key builds.key modules/counter.so modules/conntrack.so
      """)

  @Option(help: ArgumentHelp("The private key, from `quiesce keygen`.", valueName: "file"))
  var key: String

  @Argument(help: "The files of modules.")
  var files: [String]

  func run() throws {
    try reporting {
      let key = try SigningKey(path: key)
      try ForEach.file(files, of: "sign") { (path) throws(ModuleFileError) in
        try RegularFile(path: path).sign(by: key)
      }
    }
  }
}

/// What `sign` and `verify` have in common.
enum ForEach {
  /// Prints the signature of each file, or why it has none; then the exit status is 1.
  static func file(
    _ files: [String], of command: String, _ body: (String) throws(ModuleFileError) -> ModuleSignature
  ) throws {
    var failed = false
    for path in files {
      do throws(ModuleFileError) {
        let signature = try body(path)
        StandardOutput.write("\(path): signed by '\(signature.signer)', key \(signature.key)")
      } catch {
        StandardError.write("quiesce: \(command): \(error)")
        failed = true
      }
    }
    if failed { throw ExitCode(1) }
  }
}
