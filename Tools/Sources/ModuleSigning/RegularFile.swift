import Foundation
import ModuleFiles

/// A file, read once through one descriptor.
public struct RegularFile: Sendable {
  /// As it was given.
  public let path: String
  /// All of it.
  public let content: [UInt8]
  let mode: mode_t
  let owner: uid_t
  private let group: gid_t

  /// As large as a module may be.
  public static let moduleLimit = 1 << 30

  /// Reads all of the file at `path`. Blocks for the file system, and not for the other end of a
  /// pipe.
  ///
  /// - Throws: what `open(2)` says; `EISDIR` and `EINVAL` for what is no regular file; `EFBIG` for
  ///   one of more than `limit` bytes; `EBUSY` when it changes meanwhile.
  public init(path: String, limit: Int = RegularFile.moduleLimit) throws(ModuleFileError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    if descriptor < 0 {
      throw ModuleFileError(path, errno, errno == ENOENT ? "no such file" : "cannot be opened")
    }
    defer { close(descriptor) }
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw ModuleFileError(path, errno, "cannot be read") }
    if status.st_mode & S_IFMT == S_IFDIR { throw ModuleFileError(path, EISDIR, "is a directory") }
    if status.st_mode & S_IFMT != S_IFREG { throw ModuleFileError(path, EINVAL, "not a regular file") }
    if status.st_size > limit { throw ModuleFileError(path, EFBIG, "is larger than \(limit) bytes") }
    self.path = path
    mode = status.st_mode & 0o7777
    (owner, group) = (status.st_uid, status.st_gid)
    content = try Self.read(descriptor, count: Int(status.st_size), path)
  }

  private static func read(
    _ descriptor: Int32, count: Int, _ path: String
  ) throws(ModuleFileError) -> [UInt8] {
    // A byte more: a file that has grown is noticed.
    var content = [UInt8](repeating: 0, count: count + 1)
    var (done, error) = (0, Int32(0))
    content.withUnsafeMutableBytes { bytes in
      while done < bytes.count {
        let rest = UnsafeMutableRawBufferPointer(rebasing: bytes[done...])
        let more = Foundation.read(descriptor, rest.baseAddress, rest.count)
        if more < 0 && errno == EINTR { continue }
        if more < 0 { error = errno }
        if more <= 0 { return }
        done += more
      }
    }
    if error != 0 { throw ModuleFileError(path, error, "cannot be read") }
    if done != count { throw ModuleFileError(path, EBUSY, "changed while it was read") }
    content.removeLast()
    return content
  }

  /// Puts a file with another content in its place, with the same mode and owner. Other processes
  /// find the old file or the new one, whole. A symbolic link leads to the new one.
  ///
  /// - Throws: what the file system says. Then the old file is there.
  func replaceContent(by content: [UInt8]) throws(ModuleFileError) {
    guard let resolved = realpath(path, nil) else { throw ModuleFileError(path, errno, "cannot be resolved") }
    defer { free(resolved) }
    let target = String(cString: resolved)
    let url = URL(filePath: target)
    let folder = url.deletingLastPathComponent().path
    // Its name begins with a dot, and so is no module of the directory.
    var template = Array("\(folder)/.\(url.lastPathComponent.prefix(100))-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    if descriptor < 0 { throw ModuleFileError(path, errno, "cannot be written: its directory takes no file") }
    var error = Self.write(content, to: descriptor)
    if error == 0 && (owner != geteuid() || group != getegid()) && fchown(descriptor, owner, group) != 0 {
      error = errno
    }
    // After fchown(2), which clears bits of the mode.
    if error == 0 && fchmod(descriptor, mode) != 0 { error = errno }
    if close(descriptor) != 0 && error == 0 { error = errno }
    if error == 0 && rename(template, target) != 0 { error = errno }
    if error != 0 {
      unlink(template)
      throw ModuleFileError(path, error, "cannot be written")
    }
  }

  /// Writes all of the bytes to a new file, down to the device. 0, or the errno.
  static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return count < 0 ? errno : EIO }
      rest = rest.dropFirst(count)
    }
    return fsync(descriptor) == 0 ? 0 : errno
  }
}
