import CControl
import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct SocketFileTests {
  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory()
  }

  @Test func otherUsersCannotConnect() throws {
    let path = directory.file("s")
    let socket = OwnedSocket()
    let file = try SocketFile(claiming: path, for: socket.descriptor, backlog: 1)
    #expect(try status(path).st_mode == S_IFSOCK | 0o600)
    file.remove()
    #expect(access(path, F_OK) != 0)
  }

  @Test func twoHostsDoNotShareASocket() throws {
    let path = directory.file("s")
    let first = OwnedSocket()
    let file = try SocketFile(claiming: path, for: first.descriptor, backlog: 1)
    let inode = try status(path).st_ino
    #expect(try refusal(path) == "control socket \(path): another host serves there (EADDRINUSE)")
    #expect(try status(path).st_ino == inode)
    file.remove()
  }

  @Test func staleSocketIsReplaced() async throws {
    let path = directory.file("s")
    do {
      let dead = OwnedSocket()
      _ = try SocketFile(claiming: path, for: dead.descriptor, backlog: 1)
    }
    try await onThread { try untilNobodyListens(at: path) }
    let socket = OwnedSocket()
    let file = try SocketFile(claiming: path, for: socket.descriptor, backlog: 1)
    let probe = OwnedSocket()
    #expect(control_connect(probe.descriptor, path, 1) == 0)
    file.remove()
  }

  @Test func otherFilesAreNotDeleted() throws {
    try directory.write("precious", to: "file")
    #expect(mkdir(directory.file("folder"), 0o700) == 0)
    #expect(symlink("file", directory.file("link")) == 0)
    #expect(symlink("nowhere", directory.file("dangling")) == 0)
    for name in ["file", "folder", "link", "dangling"] {
      let path = directory.file(name)
      #expect(try refusal(path) == "control socket \(path): a file has this name (EEXIST)")
      #expect(try status(path).st_mode & S_IFMT != S_IFSOCK)
    }
    #expect(try directory.read("file") == "precious")
  }

  @Test func socketOfAnotherTypeIsNotReplaced() throws {
    let path = directory.file("s")
    let datagrams = OwnedSocket(socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0))
    #expect(control_bind(datagrams.descriptor, path, 0o600) == 0)
    #expect(try refusal(path).hasSuffix("(EADDRINUSE)"))
  }

  @Test func impossiblePathsAreNamed() throws {
    let long = directory.file(String(repeating: "x", count: 108))
    #expect(try refusal(long).hasSuffix("(ENAMETOOLONG)"))
    #expect(try refusal(directory.file("missing/s")).hasSuffix("no such directory (ENOENT)"))
    #expect(try refusal("").hasSuffix("(EINVAL)"))
    try directory.write("", to: "file")
    #expect(try refusal(directory.file("file/s")).hasSuffix("(ENOTDIR)"))
  }

  @Test func longestPathThatFitsWorks() throws {
    let name = String(repeating: "x", count: ControlPath.longest - directory.path.utf8.count - 1)
    let socket = OwnedSocket()
    let file = try SocketFile(claiming: directory.file(name), for: socket.descriptor, backlog: 1)
    file.remove()
  }

  @Test func onlyItsOwnNameIsRemoved() throws {
    let path = directory.file("s")
    let socket = OwnedSocket()
    let file = try SocketFile(claiming: path, for: socket.descriptor, backlog: 1)
    unlink(path)
    try directory.write("another's", to: "s")
    file.remove()
    #expect(try directory.read("s") == "another's")
  }

  /// Hosts that start at the same moment: one gets the name; the host before them was dead.
  @Test func oneOfManyHostsReplacesAStaleSocket() async throws {
    for _ in 0..<50 {
      let path = directory.file("s")
      try await onThread { try untilNobodyListens(at: path) }
      do {
        let dead = OwnedSocket()
        _ = try SocketFile(claiming: path, for: dead.descriptor, backlog: 1)
      }
      try await onThread { try untilNobodyListens(at: path) }
      let wins = try await withThrowingTaskGroup(of: Bool.self) { group in
        // A winner stays until all have tried.
        let sockets = (0..<4).map { _ in OwnedSocket() }
        for socket in sockets {
          group.addTask {
            try await onThread {
              (try? SocketFile(claiming: path, for: socket.descriptor, backlog: 1)) != nil
            }
          }
        }
        return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
      }
      #expect(wins == 1)
    }
  }

  /// A process that another test starts meanwhile has copies of this one's sockets until it
  /// executes its program: what was closed here may listen a moment longer.
  private func untilNobodyListens(at path: String) throws {
    try eventually("no host listens at \(path)") {
      let probe = OwnedSocket()
      let result = control_connect(probe.descriptor, path, 0)
      return result == -ECONNREFUSED || result == -ENOENT
    }
  }

  private func refusal(_ path: String) throws -> String {
    let socket = OwnedSocket()
    do throws(ControlError) {
      _ = try SocketFile(claiming: path, for: socket.descriptor, backlog: 1)
      return "was claimed"
    } catch {
      return error.description
    }
  }

  private func status(_ path: String) throws -> stat {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    return status
  }
}

/// A socket that closes with its last use.
final class OwnedSocket: Sendable {
  let descriptor: Int32

  init(_ descriptor: Int32 = control_socket()) {
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }
}
