import ArgumentParser
import ControlProtocol
import ModuleFiles
import ToolSupport

/// `quiesce depmod`
struct DepmodCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "depmod",
    abstract: "Write the index of a module directory.",
    discussion: """
      Reads what each `*.so` of the directory and of the directories in it says about itself, and writes the file \
      `modules.index`, by which modprobe finds modules. No host is needed. A running host reads the new index.

      Prints a line on standard error for each file that is not a module, each missing dependency and each cycle; then \
      the exit status is 1, and the index is written anyway.

      Example:
        quiesce depmod ./modules
      """)

  @Argument(help: "The module directory (default: `modules` beside this program).")
  var directory: String?

  @Flag(name: [.customShort("n"), .long], help: "Print the index instead of writing it.")
  var dryRun = false

  func run() throws {
    try reporting {
      let directory = directory ?? HostCommand.defaultModuleDirectory
      try Host.checkDirectory(directory)
      var problems: [ModuleFileError] = []
      // Of two at the same time the later one sees everything. A dry run takes no lock.
      let lock = dryRun ? nil : try DirectoryLock(directory, isExclusive: true)
      let index = try ModuleIndex.scan(directory) { problems.append($0) }
      if dryRun {
        StandardOutput.write(bytes: Array(index.text.utf8))
      } else {
        try index.write()
      }
      _ = consume lock
      problems += index.problems
      for problem in problems { StandardError.write("quiesce: depmod: \(problem)") }
      if !problems.isEmpty { throw ExitCode(1) }
    }
  }
}
