import CControl
import ControlProtocol
import Foundation
import ModuleFiles

/// The socket's name in the file system: claimed for one host, and removed only while it is that
/// host's.
struct SocketFile: Sendable {
  private let path: String
  private let device: dev_t
  private let inode: ino_t

  /// Binds `socket` to `path` and listens. The file has its mode from its first instant on.
  ///
  /// A socket that no process listens on is replaced. `EADDRINUSE` when one does,
  /// `EEXIST` when something else has the name, `ENAMETOOLONG` beyond what a socket's address
  /// holds.
  init(claiming path: String, for socket: Int32, backlog: Int32, mode: mode_t = 0o600) throws(ControlError) {
    if path.isEmpty || path.utf8.contains(0) { throw Self.error(EINVAL, path, "not a path") }
    if path.utf8.count > ControlPath.longest {
      throw Self.error(
        ENAMETOOLONG, path, "longer than the \(ControlPath.longest) bytes of a socket's address")
    }
    // From the probe until `listen`: another host that starts now would find a socket that is
    // bound but does not listen yet, take it for a stale one, and delete it.
    let lock = try StartLock(of: path)
    defer { lock.release() }
    try Self.makeWay(at: path)
    let bound = control_bind(socket, path, mode)
    if bound == -EADDRINUSE { throw Self.error(EEXIST, path, "a file has this name") }
    if bound < 0 { throw Self.error(-bound, path, "cannot bind") }

    var status = stat()
    if lstat(path, &status) != 0 { throw Self.error(errno, path, "cannot check the socket") }
    (self.path, device, inode) = (path, status.st_dev, status.st_ino)
    do throws(ControlError) {
      let given = status.st_mode & 0o7777
      if given & ~mode != 0 {
        throw Self.error(EPERM, path, "the socket's mode is wider than 0\(String(mode, radix: 8))")
      }
      // The umask has narrowed it.
      if given != mode && chmod(path, mode) != 0 { throw Self.error(errno, path, "cannot set its mode") }
      if listen(socket, backlog) != 0 { throw Self.error(errno, path, "cannot listen") }
    } catch {
      unlink(path)
      throw error
    }
  }

  /// Removes the name while it is still this socket's. Call it before the socket closes: no host
  /// replaces the file of a host that listens.
  func remove() {
    var status = stat()
    if lstat(path, &status) == 0, status.st_dev == device, status.st_ino == inode { unlink(path) }
  }

  private static func error(_ code: Int32, _ path: String, _ reason: String) -> ControlError {
    ControlError(code, "control socket \(path): \(reason)")
  }

  /// Deletes what is at `path` when it is a socket that refuses connections, and nothing else.
  private static func makeWay(at path: String) throws(ControlError) {
    var status = stat()
    if lstat(path, &status) != 0 {
      if errno == ENOENT { return }
      throw error(errno, path, "cannot look at it")
    }
    if status.st_mode & S_IFMT != S_IFSOCK { throw error(EEXIST, path, "a file has this name") }
    let probe = control_socket()
    if probe < 0 { throw error(-probe, path, "no descriptor to look for another host with") }
    defer { close(probe) }
    switch control_connect(probe, path, 0) {
    case -ENOENT: return
    case -ECONNREFUSED:
      if unlink(path) != 0, errno != ENOENT { throw error(errno, path, "cannot replace the stale socket") }
    case -EACCES, -EPERM: throw error(EACCES, path, "the socket is another user's")
    // Connected, a full queue, or a socket of another type: a process has it.
    default: throw error(EADDRINUSE, path, "another host serves there")
    }
  }
}

/// A lock between hosts that start in the same directory; leaves no file behind.
private struct StartLock {
  private let descriptor: Int32

  init(of path: String) throws(ControlError) {
    // By hand: Foundation's `deletingLastPathComponent` traps for a path of one character.
    let slash = path.lastIndex(of: "/")
    let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if descriptor < 0 {
      let reason = errno == ENOENT ? "no such directory" : "cannot open the directory"
      throw ControlError(errno, "control socket \(path): \(reason)")
    }
    // Any process that can read the directory can hold this lock: wait, but not for ever.
    for _ in 0..<200 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK { return }
      usleep(10_000)
    }
    let holders = FileLock.holders(of: descriptor).map(\.description)
    close(descriptor)
    let holder = holders.isEmpty ? "another process" : holders.joined(separator: ", ")
    throw ControlError(EAGAIN, "control socket \(path): \(holder) holds the directory's lock")
  }

  func release() {
    close(descriptor)
  }
}
