import ArgumentParser
import ControlProtocol
import ModuleFiles
import ToolSupport

/// `quiesce modinfo`
struct ModinfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "modinfo",
    abstract: "Show what modules say about themselves in their files.",
    usage: """
      quiesce modinfo <name-or-file> ... [--field <field>]
        [--format <format>] [--directory <path>]
      """,
    discussion: """
      The files are read and not loaded; no host is needed.

      Example:
        quiesce modinfo --field depends conntrack
      """)

  /// How to print.
  enum Format: String, ExpressibleByArgument, CaseIterable {
    case text, json
  }

  @Argument(
    help: ArgumentHelp(
      "Names or aliases from the module directory, or files: words that contain a `/` or end in `.so`.",
      valueName: "name-or-file"))
  var modules: [String]

  @Option(name: [.customShort("F"), .long], help: "Print the values of this field only.")
  var field: String?

  @Option(help: "How to print: text or json.")
  var format = Format.text

  @Option(
    help: ArgumentHelp(
      "The module directory (default: `modules` beside this program).", valueName: "path"))
  var directory: String?

  func validate() throws {
    if field != nil && format == .json { throw ValidationError("--field is for --format text.") }
  }

  func run() throws {
    var infos: [ModuleInfo] = []
    var failed = false
    // What is there is shown, whatever else is not.
    for module in modules {
      do throws(ModuleFileError) {
        for path in try paths(of: module) { infos.append(try ModuleInfo(path: path)) }
      } catch {
        StandardError.write("quiesce: modinfo: \(error)")
        failed = true
      }
    }
    try reporting {
      switch format {
      case .text: for line in infos.flatMap(lines) { StandardOutput.write(line) }
      case .json: StandardOutput.write(try JSON.line(infos.map(Row.init)))
      }
    }
    if failed { throw ExitCode(1) }
  }

  private func paths(of module: String) throws(ModuleFileError) -> [String] {
    if module.contains("/") || module.hasSuffix(".so") { return [module] }
    return try ModuleIndex.current(of: directory ?? HostCommand.defaultModuleDirectory).paths(for: module)
  }

  private func lines(of info: ModuleInfo) -> [String] {
    let all = [("filename", info.path)] + info.entries.map { ($0.key, $0.value) }
    if let field { return all.filter { $0.0 == field }.map(\.1) }
    return all.map { key, value in
      // As wide as modinfo(8) has it.
      key + ":" + String(repeating: " ", count: max(1, 15 - key.count)) + value
    }
  }

  private struct Row: Encodable {
    let name: String
    let filename: String
    /// A list for each key: any may be there several times.
    let info: [String: [String]]

    init(_ module: ModuleInfo) {
      name = module.name
      filename = module.path
      info = Dictionary(grouping: module.entries, by: \.key).mapValues { $0.map(\.value) }
    }
  }
}
