import ControlProtocol
import Foundation

/// This program again, as a child process in a process group of its own, with pipes for what it
/// prints.
package struct ChildProcess {
  package let process: pid_t
  /// The reading side of its standard output. The owner of this value closes it.
  package let output: Int32
  /// The reading side of its standard error. The owner of this value closes it.
  package let errors: Int32

  /// - Parameter arguments: from the program's name on.
  package init(arguments: [String]) throws(ControlError) {
    let output = try Self.pipe()
    let errors = try Self.pipe()
    // The child has its own: when it ends, the pipes end.
    defer { for descriptor in [output.write, errors.write] { close(descriptor) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, errors.write, STDERR_FILENO)
    var attributes = Self.attributes()
    defer { posix_spawnattr_destroy(&attributes) }
    var process = pid_t()
    let code = Self.withCStrings(arguments) { arguments in
      posix_spawn(&process, Self.executable, &actions, &attributes, arguments, environ)
    }
    if code != 0 {
      for descriptor in [output.read, errors.read] { close(descriptor) }
      throw ControlError(code, "cannot start a host")
    }
    self.process = process
    self.output = output.read
    self.errors = errors.read
  }

  /// Blocks until the child has printed a line; nil when it ended before.
  package func firstLine() -> String? {
    var line: [UInt8] = []
    var byte: UInt8 = 0
    while line.count < 4096 {
      let count = read(output, &byte, 1)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return nil }
      if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
      line.append(byte)
    }
    return nil
  }

  /// By its own name, which process listings show; the link also works when the file was replaced
  /// since.
  private static var executable: String {
    let link = "/proc/self/exe"
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) ?? link
    return access(path, X_OK) == 0 ? path : link
  }

  private static func pipe() throws(ControlError) -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    if Foundation.pipe(&ends) < 0 { throw ControlError(errno, "no descriptors for a pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  /// A terminal's Ctrl-C is for the parent, which ends the child in order; and the child starts
  /// with no signal blocked or ignored, whatever the parent did.
  private static func attributes() -> posix_spawnattr_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    posix_spawnattr_setpgroup(&attributes, 0)
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { sigaddset(&signals, signal) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    return attributes
  }

  private static func withCStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
  }
}
