import CRelay
import Foundation
import ModuleManager
import Relay
import Synchronization
import Testing
import Traffic

/// What hooks may do with a packet. The first byte of each datagram selects the hook's action.
@Suite struct HookTests {
  private static let pass: UInt8 = 0
  private static let catchIt: UInt8 = 1

  @Test func everyPacketPassesAllPointsInOrder() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture(workers: 1)
      let seen = Mutex<[String]>([])
      for point in [fixture.relay.postrouting, fixture.relay.prerouting, fixture.relay.forward] {
        let name = point.name
        _ = point.register { packet in
          seen.withLock { $0.append("\(name) \(packet.direction)") }
          return .accept
        }
      }
      let client = try fixture.client()
      _ = try client.ask([Self.pass])
      let expected = [
        "prerouting 0", "forward 0", "postrouting 0", "prerouting 1", "forward 1", "postrouting 1",
      ]
      #expect(seen.withLock { $0 } == expected)
      #expect(fixture.relay.statistics.moduleCalls == 6)
    }
  }

  @Test func droppedPacketsDoNotArrive() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let hook = fixture.relay.forward.register { packet in
        packet.data[0] == Self.catchIt ? .drop : .accept
      }
      let client = try fixture.client()
      // The order is kept, so if the first request had passed, its answer would come first.
      try client.send([Self.catchIt, 1])
      #expect(try client.ask([Self.pass, 2]) == [Self.pass, 2])
      #expect(fixture.relay.statistics.dropped == 1)
      hook.unregister()
      #expect(try client.ask([Self.catchIt, 3]) == [Self.catchIt, 3])
    }
  }

  @Test func hookMayChangeBytesAndLength() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      _ = fixture.relay.forward.register { packet in
        packet.data[Int(packet.length)] = UInt8(packet.direction)
        packet.length += 1
        return .accept
      }
      let client = try fixture.client()
      #expect(try client.ask([7]) == [7, 0, 1])
    }
  }

  @Test func lengthBeyondTheCapacityIsNotSent() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let hook = fixture.relay.forward.register { packet in
        packet.length = packet.capacity + 1
        return .accept
      }
      let client = try fixture.client()
      try client.send([1])
      try waitUntil("the relay refuses") { fixture.relay.statistics.errors == 1 }
      hook.unregister()
      #expect(try client.ask([2]) == [2])
      #expect(fixture.relay.statistics.dropped == 1)
    }
  }

  @Test(arguments: [false, true])
  func resumedPacketContinuesBehindItsHookPoint(_ giveBackInTheHook: Bool) async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let stolen = StolenPackets()
      let calls = Mutex<[String: Int]>([:])
      for point in [fixture.relay.prerouting, fixture.relay.forward, fixture.relay.postrouting] {
        let name = point.name
        _ = point.register { packet in
          if packet.direction == QUIESCE_TO_SERVER.rawValue && packet.data[0] == Self.catchIt {
            calls.withLock { $0[name, default: 0] += 1 }
          }
          return .accept
        }
      }
      _ = fixture.relay.forward.register(priority: 1) { packet in
        if packet.data[0] != Self.catchIt { return .accept }
        if giveBackInTheHook {
          withUnsafeMutablePointer(to: &packet) { $0.pointee.resume($0) }
        } else {
          stolen.add(&packet)
        }
        return .stolen
      }
      let client = try fixture.client()
      try client.send([Self.catchIt, 5])
      if !giveBackInTheHook {
        // The stolen packet does not delay the others.
        #expect(try client.ask([Self.pass]) == [Self.pass])
        try waitUntil("the request is stolen") { stolen.count == 1 }
        stolen.giveBack { $0.pointee.resume($0) }
        try waitUntil("the answer is stolen") { stolen.count == 1 }
        stolen.giveBack { $0.pointee.resume($0) }
      }
      #expect(try client.receive() == [Self.catchIt, 5])
      #expect(calls.withLock { $0 } == ["prerouting": 1, "forward": 1, "postrouting": 1])
      #expect(fixture.relay.statistics.stolen == 2)
    }
  }

  @Test func attachedCallbacksRunExactlyOnce() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let stolen = StolenPackets()
      let ledger = Ledger(capacity: 4096)
      _ = fixture.relay.prerouting.register { packet in
        for _ in 0..<4 { ledger.attach(to: &packet) }
        // A packet has room for four callbacks.
        let error = packet.attach(&packet, { _ in }, nil)
        return error == -ENOSPC ? .accept : .drop
      }
      _ = fixture.relay.forward.register { packet in
        if packet.data[0] % 4 == 1 { return .drop }
        if packet.data[0] % 4 == 2 {
          stolen.add(&packet)
          return .stolen
        }
        return .accept
      }
      let client = try fixture.client()
      for round in 0..<200 { try client.send([UInt8(round)]) }
      // Half of the stolen packets are returned; the others wait.
      for _ in 0..<100 { _ = try client.receive() }
      try waitUntil("a quarter is stolen") { stolen.count == 50 }
      // 200 requests and 100 answers; 50 of the requests are still in flight.
      try waitUntil("the others are done") { ledger.finished == (300 - 50) * 4 }
      stolen.giveBack { $0.pointee.discard($0) }
      try waitUntil("all are done") { ledger.finished == 300 * 4 }
      #expect(ledger.attached == 300 * 4)
      #expect(ledger.finishedTwice == 0)
      #expect(fixture.relay.statistics.dropped == 100)
    }
  }

  @Test func callbacksRunInsideASection() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let ledger = Ledger(capacity: 16)
      _ = fixture.relay.prerouting.register { packet in
        ledger.attach(to: &packet)
        return .accept
      }
      _ = try fixture.client().ask([1])
      try waitUntil("both are done") { ledger.finished == 2 }
      #expect(ledger.outsideOfSections == 0)
    }
  }

  @Test func stolenPacketMayBeReturnedAfterTheRelayHasStopped() async throws {
    try await onOwnThread {
      let stolen = StolenPackets()
      let ledger = Ledger(capacity: 16)
      do {
        let fixture = try RelayFixture()
        _ = fixture.relay.prerouting.register { packet in
          ledger.attach(to: &packet)
          stolen.add(&packet)
          return .stolen
        }
        let client = try fixture.client()
        for round in 0..<3 { try client.send([UInt8(round)]) }
        try waitUntil("all are stolen") { stolen.count == 3 }
      }
      #expect(ledger.finished == 0)
      stolen.giveBack { $0.pointee.resume($0) }
      #expect(ledger.finished == 3)
      #expect(ledger.outsideOfSections == 0)
    }
  }

  @Test func packetsReturnedByManyThreadsArrive() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let stolen = StolenPackets()
      _ = fixture.relay.prerouting.register { packet in
        stolen.add(&packet)
        return .stolen
      }
      let isDone = Mutex(false)
      let thieves = (0..<3).map { _ in
        Thread {
          while !isDone.withLock({ $0 }) {
            stolen.giveBackOne { $0.pointee.resume($0) }
            sched_yield()
          }
        }
      }
      for thief in thieves { thief.start() }
      let client = try TrafficClient(
        target: fixture.relay.boundAddress, flows: 4, window: 64, limit: 5_000)
      try client.start()
      let report = client.waitUntilFinished()
      isDone.withLock { $0 = true }
      #expect(report.lost == 0)
      #expect(report.corrupted == 0)
      #expect(report.duplicates == 0)
      try waitUntil("the thieves end") { thieves.allSatisfy(\.isFinished) }
    }
  }
}
