internal import Glibc

/// The identity of a file, independent of its path.
struct FileIdentity: Hashable, Sendable {
  let device: UInt64
  let inode: UInt64

  /// Follows symbolic links. Throws the error number of `stat(2)`.
  init(path: String) throws(FileError) {
    var status = stat()
    if stat(path, &status) != 0 { throw FileError(errno: errno) }
    if status.st_mode & S_IFMT == S_IFDIR { throw FileError(errno: EISDIR) }
    if status.st_mode & S_IFMT != S_IFREG { throw FileError(errno: EINVAL) }
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }
}

struct FileError: Error {
  let errno: Int32
}
