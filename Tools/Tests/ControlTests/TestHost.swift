import Foundation
import Relay
import Testing
import Traffic

/// The built `quiesce` as a host, an echo server behind it, and the commands that talk to it.
final class TestHost: Sendable {
  let child: Child
  let control: String
  let directory: TemporaryDirectory
  let port: UInt16
  private let echo: EchoServer

  /// Starts a host with the test's modules, and waits until it serves.
  ///
  /// - Parameter standardError: where the host's goes; a file without one.
  init(
    control: String? = nil, modules: String? = nil, standardError: Int32? = nil, _ more: String...
  ) throws {
    directory = try TemporaryDirectory()
    self.control = control ?? directory.file("s")
    echo = try EchoServer()
    try echo.start()
    let child = try Child(
      Built.quiesce,
      [
        "host", "--listen", "127.0.0.1:0", "--forward", "\(echo.address)", "--workers", "2",
        "--control", self.control, "--module-directory", modules ?? (try Built.modules.get()),
      ] + more, standardError: standardError)
    self.child = child
    try eventually("the host serves; it says: \(child.error)") {
      if child.output.hasSuffix("\n") { return true }
      return kill(child.process, 0) != 0
    }
    // listening 127.0.0.1:4000 (forwarding …
    let words = child.output.split(separator: " ")
    try #require(words.count > 2 && words[0] == "listening", "it said: \(child.output) \(child.error)")
    port = try #require(words[1].split(separator: ":").last.flatMap { UInt16($0) })
  }

  /// Runs a command against this host, to its end.
  @discardableResult
  func run(_ arguments: String...) throws -> Child.Outcome {
    try start(arguments).wait()
  }

  /// Starts a command, whose name comes first, against this host.
  func start(_ arguments: [String]) throws -> Child {
    try Child(Built.quiesce, [arguments[0], "--control", control] + arguments.dropFirst())
  }

  /// Runs a command that must be refused with this one line.
  func expectRefusal(
    _ line: String, from arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try start(arguments).wait()
    #expect(outcome.error == line + "\n", sourceLocation: sourceLocation)
    #expect(outcome.output.isEmpty, sourceLocation: sourceLocation)
    #expect(outcome.status == 1, sourceLocation: sourceLocation)
  }

  /// Runs a command that must succeed.
  func expectSuccess(
    of arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try start(arguments).wait()
    #expect(outcome.error.isEmpty, sourceLocation: sourceLocation)
    #expect(outcome.status == 0, sourceLocation: sourceLocation)
  }

  /// The host is there: it lists its modules, and a datagram comes back through it.
  func expectService(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let outcome = try run("lsmod")
    #expect(outcome.status == 0, sourceLocation: sourceLocation)
    #expect(outcome.output.hasPrefix("Module"), sourceLocation: sourceLocation)
    #expect(try Datagram.roundTrip(to: port), sourceLocation: sourceLocation)
  }

  /// The loaded modules' names and states, by the JSON that users get.
  func modules() throws -> [String: String] {
    struct Row: Decodable {
      let module: String
      let state: String
    }
    let rows = try JSONDecoder().decode([Row].self, from: Data(run("lsmod", "--format", "json").output.utf8))
    return Dictionary(uniqueKeysWithValues: rows.map { ($0.module, $0.state) })
  }

  /// Ends it as a service manager does. Returns how it ended.
  @discardableResult
  func terminate() throws -> Child.Outcome {
    child.signal(SIGTERM)
    return try child.wait()
  }
}

/// One datagram there and back.
enum Datagram {
  /// Sends until an answer comes: what a busy system drops is not this test's matter.
  static func roundTrip(to port: UInt16) throws -> Bool {
    let type = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = OwnedSocket(Foundation.socket(AF_INET, type, 0))
    try #require(socket.descriptor >= 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(connected == 0)
    let sent = Array("ping \(port)".utf8)
    for _ in 0..<50 {
      _ = send(socket.descriptor, sent, sent.count, 0)
      var ready = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
      if poll(&ready, 1, 200) != 1 { continue }
      var answer = [UInt8](repeating: 0, count: 100)
      let count = recv(socket.descriptor, &answer, answer.count, 0)
      if count > 0 { return Array(answer[..<count]) == sent }
    }
    return false
  }
}
