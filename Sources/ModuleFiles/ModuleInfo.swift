internal import Glibc

/// What a module's file says about itself, read without mapping it.
///
/// `QUIESCENT_INFO` and its like in `quiescent_module.h` put it there: strings `key=value` in the
/// section `.quiescent.info`, as Linux has `.modinfo`.
public struct ModuleInfo: Hashable, Sendable {
  /// One `key=value`.
  public struct Entry: Hashable, Sendable {
    /// Such as `author`.
    public let key: String
    /// What follows the first `=`.
    public let value: String
  }

  /// The file.
  public let path: String
  /// The file's name without `.so`.
  public let name: String
  /// The name that the module gives itself; nil when the file does not show it before it is mapped.
  public let moduleName: String?
  /// In the order of the file.
  public let entries: [Entry]
  /// What the file shows of its image.
  public let image: ImageFacts

  /// Reads the file at `path`, and inspects it: a file that is accepted can be mapped.
  ///
  /// - Complexity: O(size of the file), also in memory. Blocks for the file system.
  /// - Throws: what `open(2)` says; `ENOEXEC` for what is no shared object for this machine, or one
  ///   that a loader could not map, and what is wrong; `EINVAL` for a name or an entry that is
  ///   none; `EFBIG` above 1 GiB; `EBUSY` when the file changes while it is read.
  public init(path: String) throws(ModuleFileError) { try self.init(ImageFile(path), path) }

  /// Inspects `content`, which was read from the file at `path`; see ``init(path:)``.
  ///
  /// - Complexity: O(size of the content), also in memory.
  public init(content: RawSpan, path: String) throws(ModuleFileError) {
    let copy = try content.withUnsafeBytes { (bytes) throws(ModuleFileError) in
      try FileContent(copying: bytes, path)
    }
    try self.init(ImageFile(copy, path), path)
  }

  /// Takes what `file` says, whose content came from `path`.
  package init(_ file: borrowing ImageFile, _ path: String) throws(ModuleFileError) {
    self.path = path
    image = file.facts
    name = ModuleName.ofFile(path)
    if !ModuleName.isValid(name) {
      throw ModuleFileError(path, EINVAL, "its file's name is not made of letters, digits, '_', '-' and '.'")
    }
    var entries: [Entry] = []
    for string in file.strings {
      // Read as it was meant, or not at all: a name that was repaired would be another one.
      guard let text = String(validating: string, as: UTF8.self), let end = text.firstIndex(of: "="),
        end != text.startIndex,
        !text.contains(where: \.isNewline)
      else { throw ModuleFileError(path, EINVAL, "its section .quiescent.info holds what is not key=value") }
      entries.append(Entry(key: String(text[..<end]), value: String(text[text.index(after: end)...])))
    }
    self.entries = entries
    moduleName = file.entry?.name
    for name in depends where !ModuleName.isValid(name) {
      throw ModuleFileError(path, EINVAL, "depends on '\(name)', which is no module's name")
    }
    for alias in aliases where alias.isEmpty || alias.contains(where: \.isWhitespace) {
      throw ModuleFileError(path, EINVAL, "its alias '\(alias)' is empty or has spaces in it")
    }
  }

  /// Throws when the module's own name is no name (`EINVAL`), or is not that of its file
  /// (`ENOEXEC`): a directory could not find the module by its name. `-` and `_` are equal.
  public func checkName() throws(ModuleFileError) {
    guard let moduleName else { return }
    if !ModuleName.isValid(moduleName) {
      throw ModuleFileError(path, EINVAL, "its name is not made of letters, digits, '_', '-' and '.'")
    }
    if ModuleName.key(moduleName) != ModuleName.key(name) {
      throw ModuleFileError(
        path, ENOEXEC, "its module is called '\(moduleName)', and its file '\(name)': they must be the same")
    }
  }

  /// The values under `key`.
  public func values(_ key: String) -> [String] { entries.filter { $0.key == key }.map(\.value) }

  /// Modules that have to be loaded before this one, in the order of the file, each once.
  public var depends: [String] {
    unique(
      values("depends").flatMap { $0.split(separator: ",") }.map { Self.trimmed($0) }.filter { !$0.isEmpty })
  }

  /// Other names, with wildcards.
  public var aliases: [String] { unique(values("alias")) }

  /// Names or aliases of modules that are wanted before this one, if there are any such.
  public var softBefore: [String] { soft("pre:") }

  /// Names or aliases of modules that are wanted after this one, if there are any such.
  public var softAfter: [String] { soft("post:") }

  // Any other word is an alias, whatever it ends with: `plat:` is one.
  private func soft(_ wanted: String) -> [String] {
    unique(
      values("softdep").flatMap { line in
        var kind = ""
        var names: [String] = []
        for word in line.split(whereSeparator: \.isWhitespace).map(String.init) {
          if word == "pre:" || word == "post:" { kind = word } else if kind == wanted { names.append(word) }
        }
        return names
      })
  }

  private func unique(_ names: [String]) -> [String] {
    var seen: Set<String> = []
    return names.filter { seen.insert($0).inserted }
  }

  private static func trimmed(_ text: Substring) -> String {
    String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
  }
}
