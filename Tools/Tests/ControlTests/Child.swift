import Foundation
import Testing

/// A child process whose output goes to files, so that it never waits for a reader.
final class Child: Sendable {
  let process: pid_t
  private let directory: TemporaryDirectory
  /// The other end of the child's standard input.
  private let input: Int32

  /// How it ended: its exit status, or 128 and the signal.
  struct Outcome: Sendable {
    let status: Int32
    let output: String
    let error: String
  }

  /// Starts `path`, with every signal unblocked.
  init(_ path: String, _ arguments: [String], standardError: Int32? = nil) throws {
    directory = try TemporaryDirectory()
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &ends) == 0)
    input = ends[1]
    defer { close(ends[0]) }

    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_adddup2(&files, ends[0], 0)
    for (descriptor, name) in [(Int32(1), "out"), (2, "err")] {
      posix_spawn_file_actions_addopen(
        &files, descriptor, directory.file(name), O_WRONLY | O_CREAT | O_APPEND, 0o600)
    }
    if let standardError { posix_spawn_file_actions_adddup2(&files, standardError, 2) }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

    var words = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process: pid_t = 0
    let error = posix_spawnp(&process, path, &files, &attributes, &words, environ)
    try #require(error == 0, "cannot start \(path): \(String(cString: strerror(error)))")
    self.process = process
  }

  deinit {
    close(input)
    // Not waited for yet: no other process can have this number.
    if waitpid(process, nil, WNOHANG) == 0 {
      kill(process, SIGKILL)
      waitpid(process, nil, 0)
    }
  }

  var output: String { (try? directory.read("out")) ?? "" }
  var error: String { (try? directory.read("err")) ?? "" }

  func signal(_ number: Int32) { kill(process, number) }

  /// Ends the child's standard input.
  func endInput() { shutdown(input, Int32(SHUT_WR)) }

  /// Blocks until it ends. Once.
  func wait() throws -> Outcome {
    var status: Int32 = 0
    var ended: pid_t = 0
    try eventually("process \(process) ends; it said: \(error)") {
      ended = waitpid(process, &status, WNOHANG)
      return ended != 0
    }
    try #require(ended == process)
    let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
    return Outcome(status: code, output: output, error: error)
  }
}
