import Foundation
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

/// What holds a module, and what lets it go.
@Suite struct ControlHoldTests {
  @Test func endedConnectionReleasesItsObjects() async throws {
    let server = try TestServer()
    try await onThread {
      defer { server.stop() }
      let client = try server.connect()
      _ = try client.insmod("a")
      do {
        let holder = try server.connect()
        _ = try holder.open("a")
        #expect(server.service.users(of: "a") == 1)
      }
      // Answered as soon as the holder's end has been noticed.
      #expect(try client.rmmod("a", .wait).unmapped)
    }
  }

  @Test func clientCannotWaitForItsOwnObject() async throws {
    let server = try TestServer()
    try await onThread {
      defer { server.stop() }
      let client = try server.connect()
      _ = try client.insmod("a")
      let object = try client.open("a")
      #expect(throws: ControlError.self) { try client.rmmod("a", .wait) }
      try client.close(object)
      #expect(try client.rmmod("a", .wait).unmapped)
    }
  }

  /// Two clients wait for each other's objects; one dies, and the other gets its answer.
  @Test func killedWaitingClientReleasesItsObjects() async throws {
    let server = try TestServer()
    try await onThread {
      defer { server.stop() }
      let client = try server.connect()
      for module in ["a", "b"] { _ = try client.insmod(module) }
      let other = try server.connect()
      _ = try other.open("b")
      do {
        let dying = try RawClient(server.path)
        dying.send(#"{"verb":"open","object":"a"}"# + "\n")
        #expect(try dying.reply()?.contains(#""ok":true"#) == true)
        dying.send(#"{"verb":"rmmod","module":"b","wait":true}"# + "\n")
        try eventually("b is going") {
          try client.lsmod().contains { $0.module == "b" && $0.state == "going" }
        }
      }
      #expect(try other.rmmod("a", .wait).unmapped)
    }
  }

  @Test func stopClosesConnectionsAndReleasesObjects() async throws {
    let server = try TestServer()
    try await onThread {
      let client = try server.connect()
      _ = try client.insmod("a")
      _ = try client.open("a")
      let waiting = try RawClient(server.path)
      waiting.send(#"{"verb":"rmmod","module":"a","wait":true}"# + "\n")
      try eventually("a is going") { try client.lsmod().contains { $0.state == "going" } }
      #expect(server.stop())
      #expect(server.service.users(of: "a") == 0)
      #expect(access(server.path, F_OK) != 0)
      #expect(throws: ControlError.self) { try client.lsmod() }
      #expect(!client.wait(for: -1))
    }
  }

  /// Clients come, hold, and die without a word; nothing stays held and no client loses an answer.
  @Test func serverSurvivesClientsThatComeAndGo() async throws {
    let server = try TestServer()
    _ = try await onThread { try server.connect().insmod("a") }
    let rounds = 500
    try await withThrowingTaskGroup(of: Void.self) { group in
      for worker in 0..<4 {
        group.addTask {
          try await onThread {
            for round in 0..<rounds {
              let client = try server.connect()
              _ = try client.open("a")
              #expect(try client.lsmod().count == 1)
              if (round + worker) % 3 == 0 { _ = try? client.rmmod("a") }
            }
          }
        }
      }
      try await group.waitForAll()
    }
    try await onThread {
      let reply = try server.connect().rmmod("a", .wait)
      #expect(reply.unmapped)
      server.stop()
    }
  }
}
