import CControl
import Foundation
import Synchronization
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

@Suite struct ControlServerTests {
  @Test func carriesManyRequestsOnAConnection() async throws {
    try await withServer { server in
      let client = try server.connect()
      for _ in 0..<100 {
        #expect(try client.insmod("a") == InsmodReply(module: "a", moduleCalls: 1))
        #expect(try client.lsmod().map(\.module) == ["a"])
        #expect(try client.objects() == ["a"])
        let object = try client.open("a")
        #expect(try client.read(object, from: 0) == Data("a".utf8))
        #expect(throws: ControlError(EBUSY, "a: in use: client \(getpid())")) { try client.rmmod("a") }
        try client.close(object)
        #expect(try client.rmmod("a").unmapped)
        _ = try client.stat()
      }
      #expect(throws: ControlError(ENOENT, "a: no such module is loaded")) { try client.rmmod("a") }
    }
  }

  @Test func relativePathsAreResolvedInTheClientsDirectory() async throws {
    try await withServer { server in
      let client = try server.connect()
      let here = FileManager.default.currentDirectoryPath
      #expect(try client.insmod("./a.so").module == "\(here)/a.so")
      #expect(try client.insmod("../a.so").module == "\(here)/../a.so")
      #expect(try client.insmod("/a.so").module == "/a.so")
    }
  }

  @Test func serverSurvivesArbitraryInput() async throws {
    try await withServer { server in
      let client = try RawClient(server.path)
      for garbage in ["garbage", "", "{}", "[1]", #"{"verb":"fly"}"#, "\u{0}\u{1}", #"{"verb":3}"#] {
        client.send(garbage + "\n")
        #expect(try client.reply()?.contains(#""ok":false"#) == true, "\(garbage)")
      }
      client.send(#"{"verb":"lsmod"}"# + "\n" + #"{"verb":"objects"}"# + "\n")
      #expect(try client.reply() == #"{"modules":[],"ok":true}"#)
      #expect(try client.reply() == #"{"objects":[],"ok":true}"#)
    }
  }

  @Test func endlessLineClosesItsConnection() async throws {
    try await withServer { server in
      let client = try RawClient(server.path)
      client.send(Array(repeating: UInt8(ascii: "x"), count: 3 * Request.limit))
      #expect(try client.reply()?.contains("EMSGSIZE") == true)
      #expect(try client.reply() == nil)
      #expect(try server.connect().lsmod().isEmpty)
    }
  }

  @Test func takesTheLongestLine() async throws {
    try await withServer { server in
      let client = try RawClient(server.path)
      let request = #"{"verb":"lsmod"}"#
      client.send(request + String(repeating: " ", count: Request.limit - request.utf8.count) + "\n")
      #expect(try client.reply() == #"{"modules":[],"ok":true}"#)
    }
  }

  @Test func truncatedRequestIsAnswered() async throws {
    try await withServer { server in
      let client = try RawClient(server.path)
      client.send(#"{"verb":"lsm"#)
      client.finish()
      #expect(try client.reply()?.contains("EBADMSG") == true)
      #expect(try client.reply() == nil)
    }
  }

  @Test func clientThatClosedItsWriteSideIsAnswered() async throws {
    try await withServer { server in
      _ = try server.connect().insmod("a")
      let client = try RawClient(server.path)
      client.send(#"{"verb":"rmmod","module":"a","wait":true}"# + "\n")
      client.finish()
      #expect(try client.reply()?.contains(#""ok":true"#) == true)
      #expect(try client.reply() == nil)
    }
  }

  @Test func slowClientsDoNotDelayOthers() async throws {
    try await withServer { server in
      let silent = try RawClient(server.path)
      silent.send(#"{"verb":"lsm"#)
      let deaf = try RawClient(server.path)
      // More answers than the socket holds: its thread is stuck in a send.
      for _ in 0..<10_000 { deaf.sendWithoutWaiting(#"{"verb":"lsmod"}"# + "\n") }
      let busy = try RawClient(server.path)
      busy.send(#"{"verb":"insmod","module":"slow"}"# + "\n")
      for _ in 0..<100 { #expect(try server.connect().lsmod().isEmpty) }
      server.service.finishSlowLoad()
      #expect(try busy.reply()?.contains(#""ok":true"#) == true)
      silent.send("od\"}\n")
      #expect(try silent.reply()?.contains("slow") == true)
    }
  }

  @Test func connectionLimitIsAnsweredAndRecovers() async throws {
    let server = try TestServer(limit: 3)
    try await onThread {
      defer { server.stop() }
      var clients = try (0..<3).map { _ in try server.connect() }
      for client in clients { #expect(try client.lsmod().isEmpty) }
      #expect(throws: ControlError(EAGAIN, "3 clients are connected, which is the limit")) {
        try server.connect().lsmod()
      }
      #expect(try clients[0].lsmod().isEmpty)
      clients.removeLast()
      try eventually("a place is free again") { (try? server.connect().lsmod()) != nil }
    }
  }

  /// Their place is free while what they asked for is still under way.
  @Test func closedClientFreesItsPlaceAtOnce() async throws {
    let server = try TestServer(limit: 3)
    try await onThread {
      defer { server.stop() }
      for _ in 0..<10 {
        // More than there are places: one of them may be that of the client before.
        let crowd = try (0..<6).map { _ in try RawClient(server.path) }
        for client in crowd { client.send(#"{"verb":"insmod","module":"slow"}"# + "\n") }
        try eventually("all places are taken") { (try? server.connect().lsmod()) == nil }
        withExtendedLifetime(crowd) {}
      }
      try eventually("a place is free") { (try? server.connect().lsmod()) != nil }
      for _ in 0..<100 { server.service.finishSlowLoad() }
    }
  }

  @Test func closedClientEndsItsWait() async throws {
    try await withServer { server in
      let client = try server.connect()
      _ = try client.insmod("a")
      let object = try client.open("a")
      do {
        let waiting = try RawClient(server.path)
        waiting.send(#"{"verb":"rmmod","module":"a","wait":true}"# + "\n")
        try eventually("it waits") { server.service.waiting == 1 }
      }
      try eventually("the wait has ended") { server.service.waiting == 0 }
      #expect(try client.lsmod().map(\.state) == ["live"])
      try client.close(object)
    }
  }

  @Test func idleClientIsDisconnectedUnlessItHoldsAnObject() async throws {
    let server = try TestServer(idleLimit: .milliseconds(200))
    try await onThread {
      defer { server.stop() }
      let holder = try server.connect()
      _ = try holder.insmod("a")
      let object = try holder.open("a")
      let idle = try RawClient(server.path)
      idle.send(#"{"verb":"lsm"#)
      #expect(try idle.reply()?.contains("ETIMEDOUT") == true)
      #expect(try idle.reply() == nil)
      #expect(try holder.read(object, from: 0) == Data("a".utf8))
    }
  }

  @Test func readOnlySocketRefusesChanges() async throws {
    let server = try TestServer(access: .readOnly)
    try await onThread {
      defer { server.stop() }
      let client = try server.connect()
      #expect(try client.lsmod().isEmpty && client.objects().isEmpty)
      let refusal = ControlError(EPERM, "this control socket is read-only")
      #expect(throws: refusal) { try client.insmod("a") }
      #expect(throws: refusal) { try client.rmmod("a", .force) }
      #expect(throws: refusal) { try client.replace("a", with: "a") }
      #expect(throws: refusal) { try client.open("a") }
      #expect(throws: refusal) { try client.cancel("a") }
      #expect(throws: refusal) { try client.set("limit", of: "a", to: "1") }
      _ = try client.trace(waiting: 0)
    }
  }

  @Test func refusesAnotherUser() async throws {
    let server = try TestServer(user: geteuid() + 1)
    try await onThread {
      defer { server.stop() }
      #expect(throws: ControlError.self) { try server.connect().lsmod() }
      let client = try RawClient(server.path)
      #expect(try client.reply()?.contains(#""errno":"EPERM""#) == true)
      #expect(try client.reply() == nil)
      #expect(server.log.withLock { $0.count } == 2)
      #expect(server.log.withLock { $0.allSatisfy { $0.contains("(EPERM)") } })
    }
  }

  @Test func checksTheUser() throws {
    try Peer(process: 1, user: 1000).check(against: 1000)
    for (peer, host) in [(UInt32(1000), UInt32(0)), (0, 1000), (1001, 1000)] {
      #expect(throws: ControlError.self) { try Peer(process: 1, user: peer).check(against: host) }
    }
  }

  @Test func missingHostIsExplained() throws {
    let directory = try TemporaryDirectory()
    let path = directory.file("s")
    #expect(throws: ControlError(ENOENT, "no host at \(path)")) { try ControlClient(path: path) }
    let socket = OwnedSocket()
    #expect(control_bind(socket.descriptor, path, 0o600) == 0)
    #expect(throws: ControlError(ECONNREFUSED, "no host at \(path)")) { try ControlClient(path: path) }
    #expect(throws: ControlError.self) { try ControlClient(path: directory.file("x\u{0}y")) }
  }

  private func withServer(_ body: @escaping @Sendable (TestServer) throws -> Void) async throws {
    let server = try TestServer()
    try await onThread {
      defer { #expect(server.stop(), "a connection did not end") }
      try body(server)
    }
  }
}

extension RawClient {
  /// Sends what fits into the socket, and drops the rest.
  func sendWithoutWaiting(_ text: String) {
    _ = Array(text.utf8).withUnsafeBytes { control_send(descriptor, $0.baseAddress, $0.count, 0) }
  }
}
