internal import Glibc

/// The modules of a directory: where they are, what they need, and what else they are called.
///
/// `quiesce depmod` writes it to the file `modules.index` of the directory; a manager reads it. It
/// is text:
///
///     quiescence-module-index 1
///     module conntrack 16504 1700000000.000000001 net/conntrack.so
///     depends counter
///     before log
///     after statistics
///     alias net-flow-*
///     skipped 12 1700000000.000000001 broken.so
///     end 1
///
/// Source: Linux `modules.dep(5)`, depmod(8).
public struct ModuleIndex: Hashable, Sendable {
  /// One module.
  public struct Entry: Hashable, Sendable {
    /// The module's own name. The file's name without `.so` is the same, apart from `-` and `_`.
    public let name: String
    /// Its file, from the directory on; empty when it is compiled in.
    public let file: String
    /// Of the file when it was indexed.
    public let stamp: FileStamp
    /// Loaded before it, and kept while it is loaded.
    public let depends: [String]
    /// Names or aliases of what is wanted before it.
    public let softBefore: [String]
    /// Names or aliases of what is wanted after it.
    public let softAfter: [String]
    /// What else it is called, with wildcards.
    public let aliases: [String]

    package init(
      name: String, file: String, stamp: FileStamp, depends: [String], softBefore: [String] = [],
      softAfter: [String] = [], aliases: [String] = []
    ) {
      self.name = name
      self.file = file
      self.stamp = stamp
      self.depends = depends
      self.softBefore = softBefore
      self.softAfter = softAfter
      self.aliases = aliases
    }

    /// Whether it is compiled into the host, and so has no file.
    package var isBuiltIn: Bool { file.isEmpty }
  }

  /// The directory, as it was given.
  public let directory: String
  /// By name.
  public let entries: [Entry]
  /// Files that are no modules, or have the name of another one: kept in mind, so that a change of
  /// them is noticed.
  public let skipped: [SkippedFile]
  private let byName: [String: Entry]

  /// A file that ends in `.so` and is none of the modules.
  public struct SkippedFile: Hashable, Sendable {
    /// From the directory on.
    public let file: String
    /// When it was looked at.
    public let stamp: FileStamp
  }

  /// Of two entries with one name the first stays.
  package init(directory: String, entries: [Entry], skipped: [SkippedFile]) {
    self.directory = directory
    byName = Dictionary(entries.map { (ModuleName.key($0.name), $0) }) { first, _ in first }
    self.entries = byName.values.sorted { $0.name < $1.name }
    self.skipped = skipped
  }

  /// The module of that name; aliases are no names.
  public func entry(_ name: String) -> Entry? { byName[ModuleName.key(name)] }

  /// Its file's path; empty when it is compiled in.
  public func path(of entry: Entry) -> String { entry.isBuiltIn ? "" : "\(directory)/\(entry.file)" }

  /// For messages.
  var place: String { directory.isEmpty ? "the host" : directory }

  /// The modules that `name` means: the one of that name, or else all that have an alias for it, by
  /// name.
  ///
  /// - Complexity: O(aliases).
  public func matches(_ name: String) -> [Entry] {
    if let entry = entry(name) { return [entry] }
    let key = ModuleName.key(name)
    return entries.filter { entry in
      entry.aliases.contains { fnmatch(Self.patternKey($0), key, 0) == 0 || fnmatch($0, name, 0) == 0 }
    }
  }

  /// The files of ``matches(_:)``.
  ///
  /// - Throws: `ENOENT` when there is none.
  public func paths(for name: String) throws(ModuleFileError) -> [String] { try found(name).map(path) }

  /// ``matches(_:)``, one at least.
  ///
  /// - Throws: `ENOENT` when there is none; what is wrong with the file of that name, when the
  ///   index left it out.
  package func found(_ name: String) throws(ModuleFileError) -> [Entry] {
    let found = matches(name)
    if found.isEmpty {
      let key = ModuleName.key(name)
      for file in skipped where ModuleName.key(ModuleName.ofFile(file.file)) == key {
        try ModuleInfo(path: "\(directory)/\(file.file)").checkName()
      }
      throw ModuleFileError(name, ENOENT, "no module in \(place) has that name or an alias for it")
    }
    return found
  }

  /// As ``key(_:)``, but a `-` between brackets is a range.
  private static func patternKey(_ pattern: String) -> String {
    var isInBrackets = false
    return String(
      pattern.map { character in
        if character == "[" { isInBrackets = true } else if character == "]" { isInBrackets = false }
        return character == "-" && !isInBrackets ? "_" : character
      })
  }
}

/// A file's length and time of change: another version of it has another one.
public struct FileStamp: Hashable, Sendable, CustomStringConvertible {
  /// In bytes.
  public let size: UInt64
  /// Since 1970.
  public let seconds: Int64
  /// The rest of the time.
  public let nanoseconds: UInt32

  /// As in the index: `12` and `1700000000.000000001`.
  init?(size: String, time: String) {
    let parts = time.split(separator: ".", omittingEmptySubsequences: false)
    guard let size = UInt64(size), parts.count == 2, let seconds = Int64(parts[0]), parts[1].utf8.count == 9,
      let nanoseconds = UInt32(parts[1])
    else { return nil }
    self.size = size
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// The size and the time.
  public var description: String { "\(size) \(seconds).\(String(1_000_000_000 + nanoseconds).dropFirst())" }

  /// Of what is no file.
  package static var none: FileStamp { FileStamp(size: 0, seconds: 0, nanoseconds: 0) }

  private init(size: UInt64, seconds: Int64, nanoseconds: UInt32) {
    self.size = size
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  /// Nil when there is no such file.
  init?(path: String) {
    var status = stat()
    if stat(path, &status) != 0 || status.st_mode & S_IFMT != S_IFREG { return nil }
    size = UInt64(clamping: status.st_size)
    seconds = Int64(status.st_mtim.tv_sec)
    nanoseconds = UInt32(status.st_mtim.tv_nsec)
  }
}
