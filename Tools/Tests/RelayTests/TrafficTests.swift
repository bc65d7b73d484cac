import CRelay
import ModuleManager
import Relay
import Synchronization
import Testing
import Traffic

/// Other tests rely on the client's verdict, so the client must notice every fault.
@Suite struct TrafficTests {
  private func report(
    marks: Int = 0, _ hook: @escaping @Sendable (inout quiesce_packet) -> Verdict
  ) async throws -> TrafficReport {
    try await onOwnThread {
      let fixture = try RelayFixture()
      _ = fixture.relay.forward.register(hook)
      let client = try TrafficClient(
        target: fixture.relay.boundAddress, flows: 2, window: 32, marks: marks, limit: 2000)
      try client.start()
      return client.waitUntilFinished()
    }
  }

  @Test func clientCountsCorrectAnswers() async throws {
    let report = try await report { _ in .accept }
    #expect(report.sent == 2000)
    #expect(report.answered == 2000)
    #expect(report.lost == 0 && report.corrupted == 0 && report.duplicates == 0)
  }

  @Test func clientSeesLostRequestsAndAnswers() async throws {
    let passed = Atomic(0)
    let report = try await report { _ in
      let index = passed.wrappingAdd(1, ordering: .relaxed).oldValue
      return index == 500 || index == 501 ? .drop : .accept
    }
    #expect(report.lost == 2)
    #expect(report.answered == 1998)
    #expect(report.corrupted == 0)
  }

  @Test(arguments: [0, 8, 12, 15, 16, 63])
  func clientSeesAChangedByte(_ offset: Int) async throws {
    let changed = Atomic(0)
    let report = try await report { packet in
      if packet.direction == QUIESCE_TO_CLIENT.rawValue && packet.length > 64,
        changed.wrappingAdd(1, ordering: .relaxed).oldValue == 100
      {
        packet.data[offset] ^= 0x10
      }
      return .accept
    }
    #expect(report.corrupted == 1)
    #expect(report.lost == 1)
  }

  /// A mark that is missing and one too many are both seen, also where their sum is right.
  @Test func clientCountsTheMarksOfEachAnswer() async throws {
    let passed = Atomic(0)
    let report = try await report(marks: 2) { packet in
      let marks =
        switch passed.wrappingAdd(1, ordering: .relaxed).oldValue {
        case 700: 0
        case 900: 2
        default: 1
        }
      for _ in 0..<marks {
        packet.data[Int(packet.length)] = 7
        packet.length += 1
      }
      return .accept
    }
    #expect(report.mismarked == 2)
    #expect(report.answered == 2000 && report.corrupted == 0 && report.lost == 0)
  }

  @Test func clientSeesAMissingAndAnExtraByte() async throws {
    let passed = Atomic(0)
    let report = try await report { packet in
      switch passed.wrappingAdd(1, ordering: .relaxed).oldValue {
      case 700: packet.length -= 1
      case 900: packet.length += 1
      default: break
      }
      return .accept
    }
    #expect(report.corrupted == 2)
    #expect(report.lost == 2)
  }

  @Test func clientSeesAnAnswerToAnEarlierRequest() async throws {
    // Answers are replaced by a copy of an old answer: correct in itself, but not for the current
    // request.
    let copy = Mutex<[UInt8]>([])
    let passed = Atomic(0)
    let report = try await report { packet in
      if packet.direction != QUIESCE_TO_CLIENT.rawValue { return .accept }
      let index = passed.wrappingAdd(1, ordering: .relaxed).oldValue
      copy.withLock { copy in
        if index == 100 {
          copy = Array(UnsafeBufferPointer(start: packet.data, count: Int(packet.length)))
        } else if index == 1000 {
          packet.data.update(from: copy, count: copy.count)
          packet.length = UInt32(copy.count)
        }
      }
      return .accept
    }
    // The copy may go to another flow, which has not sent that request.
    #expect(report.duplicates + report.corrupted == 1)
    #expect(report.lost == 1)
  }

  @Test func clientWaitsForAnswers() async throws {
    try await onOwnThread {
      let fixture = try RelayFixture()
      let client = try TrafficClient(target: fixture.relay.boundAddress, flows: 2, window: 32)
      try client.start()
      var before = 0
      for _ in 0..<200 {
        #expect(client.waitForAnswers(client.window + 1))
        let now = client.report.answered
        #expect(now - before > client.window)
        before = now
      }
      #expect(client.finish().lost == 0)
      #expect(!client.waitForAnswers(1))
    }
  }
}
