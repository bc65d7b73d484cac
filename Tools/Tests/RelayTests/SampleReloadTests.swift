import Foundation
import ModuleFiles
import ModuleManager
import Quiescence
import Relay
import Testing
import Traffic

/// Each sample module, loaded and unloaded many times in one process.
@Suite struct SampleReloadTests {
  enum Sample: String, CaseIterable, Sendable {
    case conntrack, counter, probe, ratelimit, stamp

    /// Not `probe`, whose hook point the relay does not have, nor `stamp`, which changes datagrams.
    var meetsTraffic: Bool { self != .probe && self != .stamp }

    /// Such that nothing is dropped.
    var parameters: [String: String] {
      self == .ratelimit ? ["rate": "1000000000", "burst": "1000000"] : [:]
    }
  }

  /// Mappings, descriptors and memory of the process, at cycle 100 and at the end, under traffic:
  /// 1,000 cycles, and 10,000 in `make storm`.
  @Test(.timeLimit(.minutes(10)), arguments: Sample.allCases)
  func reloadsOfASampleLeaveNothing(_ sample: Sample) async throws {
    let module = try await onOwnThread { try SampleModule(sample.rawValue) }
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      [path = module.path as String, name = sample.rawValue as String] in
      try await onOwnThread {
        guard let sample = Sample(rawValue: name) else { fatalError(name) }
        try Self.reload(sample, path)
      }
    }
    let output = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(result != nil && output.isEmpty, "\(output)")
    withExtendedLifetime(module) {}
  }

  /// Writes to standard error if more is in use at the end than at cycle 100.
  private static func reload(_ sample: Sample, _ path: String) throws {
    let fixture = try RelayFixture()
    let manager = ModuleManager()
    for point in [fixture.relay.prerouting, fixture.relay.forward, fixture.relay.postrouting] {
      manager.provide(point)
    }
    manager.provide(HookPoint<Int, Memb>("probe", argumentType: "quiesce.probe.1", flavor: Memb.self))
    let traffic = try TrafficClient(target: fixture.relay.boundAddress, flows: 4, window: 64)
    if sample.meetsTraffic { try traffic.start() }
    var first = Usage()
    for cycle in 1...(getenv("STORM_SECONDS") == nil ? 1_000 : 10_000) {
      try manager.load(path: path, parameters: sample.parameters)
      // `conntrack` counts the datagrams that are in flight.
      guard case .unloaded(let report) = try manager.unload(sample.rawValue, ifBusy: .wait), report.unmapped
      else { fatalError("not unmapped") }
      if cycle == 100 { first = try Usage.steady() }
    }
    let last = try Usage.steady()
    if sample.meetsTraffic {
      let report = traffic.finish()
      precondition(report.lost == 0 && report.corrupted == 0 && report.answered > 0, "\(report)")
    }
    if last.mappings > first.mappings || last.descriptors > first.descriptors
      || last.memory > first.memory + 2 << 20
    {
      FileHandle.standardError.write(Data("\(first), then \(last)\n".utf8))
    }
  }
}

/// What the process uses.
private struct Usage: Equatable, CustomStringConvertible {
  /// Those of files: others come and go with the allocator.
  var mappings = 0
  var descriptors = 0
  /// Resident bytes.
  var memory = 0

  var description: String { "\(mappings) mappings, \(descriptors) descriptors, \(memory >> 10) KiB" }

  /// The kernel shows the mappings in several parts, between which they may change.
  static func steady() throws -> Usage {
    var last = try Usage.now()
    while true {
      let next = try Usage.now()
      if next.mappings == last.mappings && next.descriptors == last.descriptors { return next }
      last = next
    }
  }

  private static func now() throws -> Usage {
    let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
    let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return Usage(
      mappings: maps.split(separator: "\n").count { $0.contains("/") },
      descriptors: try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count,
      memory: (Int(pages[1]) ?? 0) * Int(getpagesize()))
  }
}
