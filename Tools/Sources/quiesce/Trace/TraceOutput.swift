import ControlProtocol
import Foundation

/// Where a trace goes: standard output, or a file that appears under its name when it is whole.
final class TraceOutput {
  private let descriptor: Int32
  private let name: String
  /// The file, and what it is called until then.
  private let file: (path: String, temporary: String)?
  private var isFinished = false

  /// Opens a file beside the one that it will replace. What is no regular file, such as a pipe, is
  /// written to as it is.
  init(path: String?) throws(ControlError) {
    name = path ?? "the output"
    guard let path else {
      descriptor = STDOUT_FILENO
      file = nil
      return
    }
    var status = stat()
    let isThere = stat(path, &status) == 0
    if isThere && status.st_mode & S_IFMT != S_IFREG {
      file = nil
      descriptor = open(path, O_WRONLY | O_CLOEXEC)
    } else {
      // Behind a symbolic link: the link stays.
      let resolved = isThere ? realpath(path, nil) : nil
      defer { free(resolved) }
      let target = resolved.map { String(cString: $0) } ?? path
      let temporary = "\(target).\(getpid()).partial"
      file = (target, temporary)
      descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    }
    let code = errno
    if descriptor < 0 { throw ControlError(code, "\(path): cannot be written") }
  }

  deinit {
    if descriptor == STDOUT_FILENO { return }
    close(descriptor)
    if let file, !isFinished { unlink(file.temporary) }
  }

  /// Writes all of it, now.
  func write(_ text: String) throws(ControlError) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw ControlError(errno, "\(name): cannot be written") }
      rest = rest.dropFirst(count)
    }
  }

  /// Gives the file its name.
  func finish() throws(ControlError) {
    isFinished = true
    guard let file else { return }
    if rename(file.temporary, file.path) != 0 {
      let code = errno
      unlink(file.temporary)
      throw ControlError(code, "\(name): cannot be replaced")
    }
  }
}
