import Foundation
import ModuleManager
import Relay
import Synchronization
import Testing
import Traffic

@Suite struct SampleModuleTests {
  private func manager(for fixture: RelayFixture) -> ModuleManager {
    let manager = ModuleManager()
    manager.provide(fixture.relay.prerouting)
    manager.provide(fixture.relay.forward)
    manager.provide(fixture.relay.postrouting)
    return manager
  }

  @Test func counterLogsTheNumberOfDatagrams() async throws {
    try await onOwnThread {
      let module = try SampleModule("counter")
      let fixture = try RelayFixture()
      let manager = manager(for: fixture)
      let lines = Mutex<[String]>([])
      manager.setLog { module, line in lines.withLock { $0.append("\(module): \(line)") } }
      let client = try fixture.client()
      _ = try client.ask([1])
      let status = try manager.load(path: module.path)
      for _ in 0..<100 { _ = try client.ask([2]) }
      #expect(try manager.unload(status.name).isUnmapped)
      _ = try client.ask([3])
      #expect(lines.withLock { $0 } == ["counter: saw 200 datagrams"])
      #expect(fixture.relay.statistics.moduleCalls == 200)
    }
  }

  @Test func conntrackListsConnections() async throws {
    try await onOwnThread {
      let module = try SampleModule("conntrack")
      let fixture = try RelayFixture()
      let manager = manager(for: fixture)
      let status = try manager.load(path: module.path)
      #expect(status.objects == ["conntrack"])
      let client = try fixture.client()
      for _ in 0..<100 { _ = try client.ask([1]) }
      let object = try manager.open("conntrack", holder: "test")
      try waitUntil("nothing is in flight") { (try? fields(of: object).first?[5]) == "0" }
      let rows = try fields(of: object)
      try #require(rows.count == 1)
      #expect(rows[0][0] == "udp")
      #expect(rows[0][1].hasPrefix("127.0.0.1:"))
      #expect(rows[0][2] == "\(fixture.server.address)")
      #expect(rows[0][3...] == ["100", "100", "0"])

      // While the object is open the module stays, and names the holder.
      let error = try #require(throws: ModuleError.self) { try manager.unload("conntrack") }
      #expect(error.errno == EBUSY)
      #expect(error.description.contains("conntrack"))
      _ = try client.ask([2])
      #expect(try fields(of: object)[0][3] == "101")
      object.close()
      #expect(try manager.unload("conntrack").isUnmapped)
      _ = try client.ask([3])
    }
  }

  @Test func conntrackIsBusyWhileAPacketIsInFlight() async throws {
    try await onOwnThread {
      let module = try SampleModule("conntrack")
      let fixture = try RelayFixture()
      let manager = manager(for: fixture)
      let stolen = StolenPackets()
      _ = fixture.relay.forward.register { packet in
        if packet.data[0] != 9 { return .accept }
        stolen.add(&packet)
        return .stolen
      }
      _ = try manager.load(path: module.path)
      let client = try fixture.client()
      _ = try client.ask([1])
      try client.send([9])
      try waitUntil("the packet is stolen") { stolen.count == 1 }
      let error = try #require(throws: ModuleError.self) { try manager.unload("conntrack") }
      #expect(error.errno == EBUSY)
      #expect(error.description.contains("packets in flight"))
      // The module is still in service.
      _ = try client.ask([2])
      stolen.giveBack { $0.pointee.discard($0) }
      try waitUntil("the packet is gone") { fixture.relay.statistics.dropped == 1 }
      #expect(try manager.unload("conntrack").isUnmapped)
    }
  }

  @Test func conntrackTableIsBounded() async throws {
    try await onOwnThread {
      let module = try SampleModule("conntrack")
      let fixture = try RelayFixture()
      let manager = manager(for: fixture)
      _ = try manager.load(path: module.path)
      for round in 0..<1500 {
        do {
          #expect(try fixture.client().ask([UInt8(round & 255)]) == [UInt8(round & 255)])
        } catch {
          // The direction in which the datagram was not sent.
          Issue.record("round \(round): \(fixture.relay.statistics)")
          throw error
        }
      }
      let object = try manager.open("conntrack", holder: "test")
      let rows = try fields(of: object)
      #expect(rows.count > 256 && rows.count <= 1024)
      #expect(Set(rows.map { $0[1] }).count == rows.count)
      object.close()
      #expect(try manager.unload("conntrack").isUnmapped)
    }
  }

  @Test(arguments: [
    ("counter", [:]), ("conntrack", [:]), ("ratelimit", ["rate": "1000000000", "burst": "1000000"]),
  ])
  func moduleIsReloadedUnderTrafficWithoutLoss(
    _ name: String, _ parameters: [String: String]
  ) async throws {
    try await onOwnThread {
      let module = try SampleModule(name)
      let fixture = try RelayFixture()
      let manager = manager(for: fixture)
      let traffic = try TrafficClient(target: fixture.relay.boundAddress, flows: 4, window: 64)
      try traffic.start()
      for _ in 0..<100 {
        _ = try manager.load(path: module.path, parameters: parameters)
        let before = fixture.relay.statistics.moduleCalls
        #expect(traffic.waitForAnswers(traffic.window + 1))
        #expect(fixture.relay.statistics.moduleCalls > before)
        // `conntrack` counts the packets that are in flight.
        #expect(try manager.unload(name, ifBusy: .wait).isUnmapped)
      }
      let report = traffic.finish()
      #expect(report.lost == 0 && report.corrupted == 0 && report.duplicates == 0)
    }
  }

  /// The columns of each line.
  private func fields(of object: OpenObject) throws -> [[String]] {
    var bytes: [UInt8] = []
    while true {
      let part = try object.read(from: UInt64(bytes.count), upTo: 4096)
      if part.isEmpty { break }
      bytes += part
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { line in
      line.split(separator: " ").map(String.init)
    }
  }
}

extension UnloadOutcome {
  fileprivate var isUnmapped: Bool {
    switch self {
    case .unloaded(let report): report.unmapped
    case .resident, .deferred: false
    }
  }
}
