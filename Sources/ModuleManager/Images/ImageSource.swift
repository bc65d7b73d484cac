internal import Glibc
internal import ModuleFiles
internal import _ImageShims

/// A module's file, opened once: what is checked is what is read.
///
/// Only its owner may write to it, or change a folder of its path; and the owner is root or the
/// user of this process.
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
    var folders = absolute.split(separator: "/")
    let name = folders.popLast() ?? "."
    let directory = try Self.openDirectory(folders, for: path)
    defer { close(directory) }
    // Not to wait for the other end of a pipe.
    let descriptor = openat(directory, String(name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if descriptor < 0 { throw Self.error(path, errno, "cannot be opened") }
    let status: stat
    do throws(ModuleError) { status = try Self.check(descriptor, path) } catch {
      close(descriptor)
      throw error
    }
    self.path = absolute
    self.descriptor = descriptor
    identity = FileIdentity(status)
    size = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Opens each folder in the one before it, from the root on, and checks it.
  ///
  /// Opening the path as a whole would check the last folder alone:
  ///
  /// 1. manager: resolves `/a/modules/x.so`;
  /// 2. another user, with the right to write `/a`: puts another folder of the same owner in place
  ///    of `modules`, such as an older version;
  /// 3. manager: opens that one, whose owner and mode are as they must be.
  private static func openDirectory(_ folders: [Substring], for path: String) throws(ModuleError) -> Int32 {
    var place = "/"
    var directory = qs_image_open_folder(AT_FDCWD, place)
    if directory < 0 { throw ModuleError(path, errno, "its directory / cannot be opened") }
    do throws(ModuleError) {
      try checkDirectory(directory, place, path)
      for folder in folders {
        place += place == "/" ? folder : "/\(folder)"
        let next = qs_image_open_folder(directory, String(folder))
        if next < 0 { throw error(path, errno, "its directory \(place) cannot be opened") }
        close(directory)
        directory = next
        try checkDirectory(directory, place, path)
      }
    } catch {
      close(directory)
      throw error
    }
    return directory
  }

  private static func checkDirectory(
    _ directory: Int32, _ place: String, _ path: String
  ) throws(ModuleError) {
    if let reason = FileTrust.fault(of: try status(of: directory, path), isFolder: true) {
      throw ModuleError(path, EPERM, "its directory \(place) \(reason)")
    }
  }

  private static func check(_ descriptor: Int32, _ path: String) throws(ModuleError) -> stat {
    let file = try status(of: descriptor, path)
    if file.st_mode & S_IFMT == S_IFDIR { throw ModuleError(path, EISDIR, "is a directory") }
    if file.st_mode & S_IFMT != S_IFREG { throw ModuleError(path, EINVAL, "not a regular file") }
    if let reason = FileTrust.fault(of: file, isFolder: false) { throw ModuleError(path, EPERM, reason) }
    return file
  }

  private static func status(of descriptor: Int32, _ path: String) throws(ModuleError) -> stat {
    var status = stat()
    if fstat(descriptor, &status) != 0 { throw ModuleError(path, errno, "cannot be read") }
    return status
  }

  /// A link, or something else than a folder, where `realpath` found none.
  private static func error(_ path: String, _ errno: Int32, _ reason: String) -> ModuleError {
    ModuleError(path, errno, errno == ELOOP || errno == ENOTDIR ? "changed while it was opened" : reason)
  }
}
