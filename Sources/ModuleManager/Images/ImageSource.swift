internal import Glibc
internal import _ImageShims

/// A module's file, opened once: what is checked is what is read.
///
/// Only its owner may write to it or replace it, and the owner is root or the user of this process.
struct ImageSource: ~Copyable {
  /// Without symbolic links.
  let path: String
  let descriptor: Int32
  let identity: FileIdentity
  let size: Int

  /// Follows symbolic links in `path`, and none that comes afterwards.
  ///
  /// - Throws: what `realpath(3)` and `open(2)` say; `EISDIR` and `EINVAL` for what is no regular
  ///   file; `EPERM` when others may write to the file or replace it.
  init(_ path: String) throws(ModuleError) {
    guard let resolved = realpath(path, nil) else {
      throw ModuleError(path, errno, errno == ENOENT ? "no such file" : "cannot be resolved")
    }
    let absolute = String(cString: resolved)
    free(resolved)
    // A path without links: it begins with a slash.
    let slash = absolute.utf8.lastIndex(of: UInt8(ascii: "/")) ?? absolute.startIndex
    let folder = slash == absolute.startIndex ? "/" : String(absolute[..<slash])
    let name = String(absolute[absolute.utf8.index(after: slash)...])
    let directory = qs_image_open_folder(folder)
    if directory < 0 { throw ModuleError(path, errno, "its directory \(folder) cannot be opened") }
    defer { close(directory) }
    // Not to wait for the other end of a pipe.
    let descriptor = openat(
      directory, name.isEmpty ? "." : name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if descriptor < 0 {
      throw ModuleError(path, errno, errno == ELOOP ? "changed while it was opened" : "cannot be opened")
    }
    let status: stat
    do throws(ModuleError) { status = try Self.check(descriptor, path, in: directory, folder) } catch {
      close(descriptor)
      throw error
    }
    self.path = absolute
    self.descriptor = descriptor
    identity = FileIdentity(status)
    size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  private static func check(
    _ descriptor: Int32, _ path: String, in directory: Int32, _ folder: String
  ) throws(ModuleError) -> stat {
    let file = try status(of: descriptor, path)
    if file.st_mode & S_IFMT == S_IFDIR { throw ModuleError(path, EISDIR, "is a directory") }
    if file.st_mode & S_IFMT != S_IFREG { throw ModuleError(path, EINVAL, "not a regular file") }
    if let reason = fault(of: file, isFolder: false) { throw ModuleError(path, EPERM, reason) }
    if let reason = fault(of: try status(of: directory, path), isFolder: true) {
      throw ModuleError(path, EPERM, "its directory \(folder) \(reason)")
    }
    return file
  }

  private static func status(of descriptor: Int32, _ path: String) throws(ModuleError) -> stat {
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw ModuleError(path, errno, "cannot be read") }
    return status
  }

  /// Why others than root and the user of this process decide what is loaded; nil when they do not.
  private static func fault(of status: stat, isFolder: Bool) -> String? {
    if status.st_uid != 0 && status.st_uid != geteuid() {
      return "belongs to user \(status.st_uid), neither root nor the user of this process"
    }
    // In a sticky directory, such as /tmp, others cannot replace a file of this owner.
    if status.st_mode & 0o022 != 0 && !(isFolder && status.st_mode & S_ISVTX != 0) {
      return "may be written by others than its owner; see chmod(1): go-w"
    }
    return nil
  }
}
