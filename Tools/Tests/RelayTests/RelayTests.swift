import Foundation
import Relay
import Testing
import Traffic

@Suite struct RelayTests {
  @Test(arguments: ["127.0.0.1:0", "[::1]:0"], ["127.0.0.1:0", "[::1]:0"])
  func answersReturnToTheClient(_ listen: String, _ server: String) async throws {
    try await onOwnThread {
      let fixture = try RelayFixture(listen: listen, server: server)
      let client = try fixture.client()
      #expect(try client.ask([1, 2, 3]) == [1, 2, 3])
      #expect(try client.ask([]) == [])
      #expect(try client.ask([4]) == [4])
      // Counted after the system call has returned; the answer may arrive earlier.
      try waitUntil("all are counted") { fixture.relay.statistics.sent == 6 }
      let statistics = fixture.relay.statistics
      #expect(statistics.received == 6)
      #expect(statistics.flows == 1)
      #expect(statistics.errors == 0)
    }
  }

  @Test(arguments: ["127.0.0.1:0", "[::1]:0"])
  func datagramsAreNotTruncated(_ address: String) async throws {
    try await onOwnThread {
      let fixture = try RelayFixture(listen: address, server: address)
      let client = try fixture.client()
      for length in [1, 1472, 1473, 9000, 60000, 65507] {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ length) }
        #expect(try client.ask(bytes) == bytes)
      }
    }
  }

  @Test func answersReachTheRightClient() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let clients = try (0..<2).map { _ in
        try TrafficClient(target: fixture.relay.boundAddress, flows: 8, window: 64, limit: 20_000)
      }
      for client in clients { try client.start() }
      for client in clients {
        let report = client.waitUntilFinished()
        #expect(report.sent == 20_000)
        #expect(report.lost == 0)
        // An answer to another flow's request counts as corrupted.
        #expect(report.corrupted == 0)
        #expect(report.duplicates == 0)
      }
      #expect(fixture.relay.statistics.flows == 16)
      #expect(fixture.relay.statistics.kernelDrops == 0)
    }
  }

  @Test func idleFlowsExpire() async throws {
    try await onOwnThread {
      // Longer than any answer takes: an answer to an expired flow is lost.
      let fixture = try RelayFixture(flowTimeout: .seconds(2))
      let client = try fixture.client()
      for round in 0..<2 {
        #expect(try client.ask([UInt8(round)]) == [UInt8(round)])
        try waitUntil("the flow expires") { fixture.relay.statistics.flows == 0 }
      }
    }
  }

  @Test func relaySurvivesAMissingServer() async throws {
    try await onOwnThread {
      // A port that was free a moment ago, at an address that other tests do not use.
      var server: EchoServer? = try EchoServer(address: SocketAddress(parsing: "127.0.0.9:0"))
      let address = try #require(server).address
      server = nil
      let relay = try Relay(
        listen: SocketAddress(parsing: "127.0.0.1:0"), forward: address, workers: 1)
      try relay.start()
      defer { relay.stop() }
      let client = try TestClient(target: relay.boundAddress)
      for round in 0..<100 { try client.send([UInt8(round)]) }
      try waitUntil("the refusals arrive") { relay.statistics.errors > 0 }
      try waitUntil("all have gone out, or not") {
        relay.statistics.sent + relay.statistics.dropped == 100
      }
      let late = try EchoServer(address: address)
      try late.start()
      #expect(try client.ask([200]) == [200])
      late.stop()
    }
  }

  @Test func oldestFlowIsClosedAtTheLimit() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture(workers: 1, flowLimit: 4)
      for round in 0..<16 {
        let client = try fixture.client()
        #expect(try client.ask([UInt8(round)]) == [UInt8(round)])
        #expect(fixture.relay.statistics.flows <= 4)
      }
      #expect(fixture.relay.statistics.errors == 12)
    }
  }

  @Test func burstLosesNothing() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let client = try fixture.client()
      let count = 3000
      // No answer is read before the last request was sent, so everything waits in buffers.
      for round in 0..<count { try client.send([UInt8(round & 255), UInt8(round >> 8)]) }
      var answered = Set<Int>()
      for _ in 0..<count {
        let answer = try client.receive()
        answered.insert(Int(answer[0]) | Int(answer[1]) << 8)
      }
      #expect(answered.count == count)
    }
  }

  @Test func answersComeFromTheAddressOfTheRequest() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture(listen: "0.0.0.0:0")
      let target = try SocketAddress(parsing: "127.0.0.3:\(fixture.relay.boundAddress.port)")
      // Connected: the kernel drops datagrams from any other address.
      let client = try fixture.client(from: "127.0.0.2:0", to: target)
      #expect(try client.ask([1, 2, 3]) == [1, 2, 3])
    }
  }

  @Test func addressInUseIsRefused() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let error = try #require(throws: RelayError.self) {
        try Relay(
          listen: fixture.relay.boundAddress, forward: fixture.server.address, workers: 2)
      }
      #expect(error.errno == EADDRINUSE)
      #expect(error.description == "\(fixture.relay.boundAddress): cannot listen (EADDRINUSE)")
    }
  }

  @Test func invalidArgumentsAreRefused() throws {
    let any = try SocketAddress(parsing: "127.0.0.1:0")
    let server = try SocketAddress(parsing: "127.0.0.1:9")
    #expect(throws: RelayError.self) { try Relay(listen: any, forward: any, workers: 1) }
    #expect(throws: RelayError.self) { try Relay(listen: any, forward: server, workers: 0) }
  }

  @Test func relayStartsAndStopsOnce() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      #expect(throws: RelayError.self) { try fixture.relay.start() }
      fixture.relay.stop()
      fixture.relay.stop()
      #expect(fixture.relay.statistics.flows == 0)
    }
  }
}
