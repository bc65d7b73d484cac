import ArgumentParser
import ControlProtocol
import ModuleFiles
import ModuleManager
import ModuleSigning
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
      The files are read and not loaded; no host is needed. A signature is shown as the file has it; `quiesce verify` \
      checks it.

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
    var files: [File] = []
    var failed = false
    // What is there is shown, whatever else is not.
    for module in modules {
      do throws(ModuleFileError) {
        for path in try paths(of: module) { files.append(try File(path)) }
      } catch {
        StandardError.write("quiesce: modinfo: \(error)")
        failed = true
      }
    }
    try reporting {
      switch format {
      case .text: for line in files.flatMap(lines) { StandardOutput.write(line) }
      case .json: StandardOutput.write(try JSON.line(files.map(Row.init)))
      }
    }
    if failed { throw ExitCode(1) }
  }

  private func paths(of module: String) throws(ModuleFileError) -> [String] {
    if module.contains("/") || module.hasSuffix(".so") { return [module] }
    return try ModuleIndex.current(of: directory ?? HostCommand.defaultModuleDirectory).paths(for: module)
  }

  private func lines(of file: File) -> [String] {
    let info = file.info
    let all =
      [("filename", info.path)] + info.entries.map { ($0.key, $0.value) } + info.image.fields + file.signature
    if let field { return all.filter { $0.0 == field }.map(\.1) }
    return all.map { key, value in
      // As wide as modinfo(8) has it.
      key + ":" + String(repeating: " ", count: max(1, 15 - key.count)) + value
    }
  }

  /// A file, read once.
  private struct File {
    let info: ModuleInfo
    /// As it is printed; empty when there is none.
    let signature: [(String, String)]

    init(_ path: String) throws(ModuleFileError) {
      let file = try RegularFile(path: path)
      info = try ModuleInfo(content: file.content.span.bytes, path: path)
      signature = file.content.withUnsafeBytes { bytes -> [(String, String)] in
        do throws(ModuleVerifier.Refusal) {
          guard let signature = try ModuleSignature(of: bytes) else { return [] }
          return [
            ("sig_id", "Ed25519"), ("signer", signature.signer), ("sig_key", signature.key.description),
          ]
        } catch { return [("sig_id", error.reason)] }
      }
    }
  }

  private struct Row: Encodable {
    let name: String
    let filename: String
    /// A list for each key: any may be there several times.
    let info: [String: [String]]
    /// What its file shows of its image, under the same names as in text.
    let image: [String: [String]]
    /// The same of its signature; nil when it has none.
    let signature: [String: [String]]?

    init(_ file: File) {
      let module = file.info
      name = module.name
      filename = module.path
      info = Dictionary(grouping: module.entries, by: \.key).mapValues { $0.map(\.value) }
      image = Dictionary(grouping: module.image.fields, by: \.0).mapValues { $0.map(\.1) }
      signature =
        file.signature.isEmpty
        ? nil : Dictionary(grouping: file.signature, by: \.0).mapValues { $0.map(\.1) }
    }
  }
}

extension ImageFacts {
  /// As `modinfo` prints them: what is not there has no line.
  fileprivate var fields: [(String, String)] {
    var fields: [(String, String)] = []
    if let abi { fields.append(("abi", "\(abi)")) }
    if let soname { fields.append(("soname", soname)) }
    fields += needed.map { ("needs", $0) }
    if constructors > 0 { fields.append(("constructors", "\(constructors)")) }
    if destructors > 0 { fields.append(("destructors", "\(destructors)")) }
    if hasThreadLocals { fields.append(("thread-locals", "yes")) }
    fields += lastingCalls.map { ("lasting-call", $0) }
    if let residency { fields.append(("resident", residency)) }
    return fields
  }
}
