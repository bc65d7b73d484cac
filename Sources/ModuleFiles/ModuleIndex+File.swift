internal import Glibc

extension ModuleIndex {
  /// The index's file in its directory.
  public static let fileName = "modules.index"
  private static let firstLine = "quiescence-module-index 1"

  // MARK: Making

  /// Reads every `*.so` of the directory and of the directories in it, whose names do not begin
  /// with a dot.
  ///
  /// - Parameters:
  ///   - directory: Its path.
  ///   - problem: Called for each file that is left out: it is no module, its module has another
  ///     name than the file, or another file has the same name.
  /// - Throws: what the file system says of the directory. Missing dependencies and cycles are
  ///   ``check()``'s.
  public static func scan(
    _ directory: String, problem: (ModuleFileError) -> Void = { _ in }
  ) throws(ModuleFileError) -> ModuleIndex {
    var entries: [Entry] = []
    var skipped: [SkippedFile] = []
    var names: [String: String] = [:]
    for file in try files(directory) {
      let path = "\(directory)/\(file)"
      // Before it is read: one that changes meanwhile has another one afterwards.
      guard let stamp = FileStamp(path: path) else { continue }
      do throws(ModuleFileError) {
        let info = try ModuleInfo(path: path)
        try info.checkName()
        if let other = names.updateValue(file, forKey: ModuleName.key(info.name)) {
          throw ModuleFileError(path, EEXIST, "is the same module as \(other)")
        }
        entries.append(
          Entry(
            name: info.moduleName ?? info.name, file: file, stamp: stamp, depends: info.depends,
            softBefore: info.softBefore,
            softAfter: info.softAfter, aliases: info.aliases))
      } catch {
        skipped.append(SkippedFile(file: file, stamp: stamp))
        problem(error)
      }
    }
    return ModuleIndex(directory: directory, entries: entries, skipped: skipped)
  }

  /// Writes the index's file anew. A reader finds the old index or the new one, whole, at any time.
  ///
  /// - Threads: any; blocks for the file system, and while another process writes the index, for
  ///   `limit` at most.
  /// - Throws: what the file system says; `ETIMEDOUT` at the limit, naming the process that holds
  ///   the new file.
  public func write(within limit: Duration = DirectoryLock.defaultLimit) throws(ModuleFileError) {
    let path = "\(directory)/\(Self.fileName)"
    // One name: a writer that is killed leaves one file at most, and the next writer replaces its
    // contents.
    let temporary = "\(path).new"
    let descriptor = try Self.openAlone(temporary, within: limit)
    let bytes = Array(text.utf8)
    var written = 0
    var error: Int32 = 0
    while written < bytes.count && error == 0 {
      let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 { error = errno == EINTR ? 0 : errno } else { written += count }
    }
    if error == 0 && fchmod(descriptor, 0o644) != 0 { error = errno }
    // Before the name: a machine that loses its power must not find the name with nothing behind
    // it.
    if error == 0 && fsync(descriptor) != 0 { error = errno }
    if error == 0 && rename(temporary, path) != 0 { error = errno }
    if error != 0 { unlink(temporary) }
    // Not before the rename: the next writer would empty the file that is about to become the
    // index.
    close(descriptor)
    if error != 0 {
      throw ModuleFileError(path, error, "cannot be written")
    }
  }

  /// Opens a file that no other writer opens until it is closed, and empties it.
  private static func openAlone(_ path: String, within limit: Duration) throws(ModuleFileError) -> Int32 {
    let wait = FileLock.Wait(limit)
    while true {
      // Until it is the index, no other user may open it: a reader could lock it.
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
      if descriptor < 0 { throw ModuleFileError(path, errno, "cannot be written") }
      if let error = wait.take(descriptor, LOCK_EX, of: path) {
        close(descriptor)
        throw error
      }
      var mine = stat()
      var named = stat()
      // The writer before this one may have renamed it: then it is the index now, and must not be
      // emptied.
      let isMine =
        fstat(descriptor, &mine) == 0 && stat(path, &named) == 0 && mine.st_ino == named.st_ino
        && mine.st_dev == named.st_dev
      let error = isMine && ftruncate(descriptor, 0) != 0 ? errno : 0
      if isMine && error == 0 { return descriptor }
      close(descriptor)
      if error != 0 { throw ModuleFileError(path, error, "cannot be written") }
    }
  }

  /// As it is written.
  public var text: String {
    var lines = [Self.firstLine]
    for entry in entries {
      lines.append("module \(entry.name) \(entry.stamp) \(entry.file)")
      lines += entry.depends.map { "depends \($0)" } + entry.softBefore.map { "before \($0)" }
      lines += entry.softAfter.map { "after \($0)" } + entry.aliases.map { "alias \($0)" }
    }
    lines += skipped.map { "skipped \($0.stamp) \($0.file)" }
    lines.append("end \(entries.count)\n")
    return lines.joined(separator: "\n")
  }

  // MARK: Reading

  /// Reads the index's file.
  ///
  /// - Throws: `ENOENT` and the like when there is none; `EBADMSG`, with the line, when it is not
  ///   what was written.
  public init(readingFrom directory: String) throws(ModuleFileError) {
    let path = "\(directory)/\(Self.fileName)"
    let bytes = try Self.contents(path)
    func bad(_ line: Int, _ what: String) -> ModuleFileError {
      ModuleFileError(path, EBADMSG, "line \(line + 1): \(what); run quiesce depmod \(directory)")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw bad(0, "not text") }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
    guard lines.first == Self.firstLine[...] else { throw bad(0, "not the index of modules of this version") }
    // Behind the last line end there is nothing.
    guard lines.popLast() == "", let end = lines.popLast(), lines.count > 0 else {
      throw bad(lines.count, "it is cut short")
    }
    var entries: [Draft] = []
    var skipped: [SkippedFile] = []
    for (number, line) in zip(1..., lines.dropFirst()) {
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      guard words.count == 2 else { throw bad(number, "'\(line.prefix(40))' is no line of an index") }
      if words[0] == "skipped" {
        guard let (stamp, file) = Self.place(words[1]) else {
          throw bad(number, "'\(line.prefix(40))' is no file")
        }
        skipped.append(SkippedFile(file: file, stamp: stamp))
        continue
      }
      if words[0] == "module" {
        guard let draft = Draft(words[1]) else { throw bad(number, "'\(line.prefix(40))' is no module") }
        entries.append(draft)
        continue
      }
      guard !entries.isEmpty, entries[entries.count - 1].add(words[0], words[1]) else {
        throw bad(number, "'\(line.prefix(40))' is no line of an index")
      }
    }
    guard end == "end \(entries.count)" else { throw bad(lines.count, "it is cut short") }
    self.init(directory: directory, entries: entries.map(\.entry), skipped: skipped)
  }

  /// The index of the files that are in the directory now: the one that was written, or if that is
  /// missing or stale, one made on the spot.
  ///
  /// - Complexity: a `stat(2)` for each module; reads all of them when the index is stale.
  /// - Throws: what the file system says of the directory; `EBADMSG` for a damaged index, so
  ///   that the user learns of it.
  public static func current(of directory: String) throws(ModuleFileError) -> ModuleIndex {
    do throws(ModuleFileError) {
      let written = try ModuleIndex(readingFrom: directory)
      if try !written.isStale() { return written }
    } catch {
      if error.errno != ENOENT { throw error }
    }
    return try scan(directory)
  }

  /// `SIZE SECONDS.NANOSECONDS FILE`.
  private static func place(_ text: String) -> (FileStamp, String)? {
    let words = text.split(separator: " ", maxSplits: 2).map(String.init)
    guard words.count == 3, let stamp = FileStamp(size: words[0], time: words[1]) else { return nil }
    // Within the directory, whatever the index says.
    let parts = words[2].split(separator: "/", omittingEmptySubsequences: false)
    return parts.contains("") || parts.contains("..") || parts.contains(".") ? nil : (stamp, words[2])
  }

  /// An entry whose lines are being read.
  private struct Draft {
    private let name: String
    private let file: String
    private let stamp: FileStamp
    private var lists: [String: [String]] = ["depends": [], "before": [], "after": [], "alias": []]

    init?(_ text: String) {
      let words = text.split(separator: " ", maxSplits: 1).map(String.init)
      guard words.count == 2, ModuleName.isValid(words[0]), let (stamp, file) = place(words[1]) else {
        return nil
      }
      name = words[0]
      self.file = file
      self.stamp = stamp
    }

    mutating func add(_ key: String, _ value: String) -> Bool {
      if lists[key] == nil || value.contains(" ") { return false }
      if key == "depends" && !ModuleName.isValid(value) { return false }
      lists[key, default: []].append(value)
      return true
    }

    var entry: Entry {
      Entry(
        name: name, file: file, stamp: stamp, depends: lists["depends", default: []],
        softBefore: lists["before", default: []], softAfter: lists["after", default: []],
        aliases: lists["alias", default: []])
    }
  }

  /// Whether the directory's files are no longer those that were indexed.
  ///
  /// - Complexity: O(files), a `stat(2)` each.
  public func isStale() throws(ModuleFileError) -> Bool {
    let files = try Self.files(directory)
    let known = entries.map { ($0.file, $0.stamp) } + skipped.map { ($0.file, $0.stamp) }
    if files.count != known.count { return true }
    let stamps = Dictionary(known) { first, _ in first }
    return files.contains { FileStamp(path: "\(directory)/\($0)") != stamps[$0] }
  }

  // MARK: The file system

  /// The directory's `*.so`, from the directory on, sorted.
  private static func files(_ directory: String, under folder: String = "") throws(ModuleFileError)
    -> [String]
  {
    guard let stream = opendir(folder.isEmpty ? directory : "\(directory)/\(folder)") else {
      throw ModuleFileError(directory, errno, "cannot be read")
    }
    defer { closedir(stream) }
    var files: [String] = []
    while let entry = readdir(stream) {
      let bytes = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      // A name that is not text is no module's.
      guard let name = String(validating: bytes, as: UTF8.self), !name.hasPrefix(".") else { continue }
      let file = folder.isEmpty ? name : "\(folder)/\(name)"
      var status = stat()
      // Not through links to folders, which may lead back.
      if lstat("\(directory)/\(file)", &status) != 0 { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        files += try Self.files(directory, under: file)
      } else if name.hasSuffix(".so"), FileStamp(path: "\(directory)/\(file)") != nil {
        files.append(file)
      }
    }
    return files.sorted()
  }

  package static func contents(_ path: String) throws(ModuleFileError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw ModuleFileError(path, errno, "cannot be opened") }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw ModuleFileError(path, errno, "cannot be read") }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }
}
