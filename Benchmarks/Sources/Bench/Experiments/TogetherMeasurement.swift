import CPeers
import Foundation
import ModuleManager
import Quiescence

/// How long a hundred modules that are unloaded together wait, compared with one module: for grace
/// periods, and for the barrier of what each has retired. Measured by the manager's own trace,
/// which excludes mapping, `exit` and unmapping.
struct TogetherMeasurement {
  let experiment: ExperimentName

  private static let count = 100

  func rows(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bench-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = try Self.files(Self.count, in: folder)
    let callers = machine.processors.count > 1 ? [0, 1] : [0]
    return try callers.flatMap { threads in
      var waits = [1: Rounds(), Self.count: Rounds()]
      var (wholes, callbacks, gracePeriods) = (waits, waits, waits)
      let manager = ModuleManager()
      let point = HookPoint<UInt64, Memb>(
        "traffic", argumentType: TrafficModule.argumentType, flavor: Memb.self)
      manager.provide(point)
      for _ in 0..<(scale.isQuick ? 5 : 4 * scale.fewRounds) {
        for count in [1, Self.count] {
          let round = try measured(Array(files.prefix(count)), by: manager, point, threads, on: machine)
          waits[count]?.add(round.readers + round.callbacks)
          callbacks[count]?.add(round.callbacks)
          gracePeriods[count]?.add(round.gracePeriods)
          wholes[count]?.add(round.whole)
        }
      }
      func row(_ name: String, _ count: Int) -> Row {
        let figures = waits[count] ?? Rounds()
        var row = Row(
          experiment, name, threads: threads, Row.Parameter("modules", Double(count)),
          nanoseconds: figures.median, median: figures.median, clock: .wall)
        row.also = [
          "callbacks_ns": callbacks[count]?.median ?? .nan,
          "grace_periods": gracePeriods[count]?.median ?? .nan,
          "whole_ns": wholes[count]?.median ?? .nan,
        ]
        return row
      }
      let one = row("waits of one module's unload", 1)
      return [
        one,
        row("waits of modules unloaded together", Self.count).compared(
          to: one, as: one.contender),
      ]
    }
  }

  /// Copies of crowd.so, which Scripts/bench builds beside the program, with different names.
  private static func files(_ count: Int, in folder: URL) throws -> [String] {
    let path = try TrafficModule.path().replacingOccurrences(of: "traffic.so", with: "crowd.so")
    let image = try Data(contentsOf: URL(fileURLWithPath: path))
    guard let place = image.range(of: Data("crowd-000\0".utf8)) else {
      throw MeasurementError("unload: crowd.so has no name to change")
    }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return try (0..<count).map { index in
      var copy = image
      copy.replaceSubrange(place, with: Data("crowd-\(String(1000 + index).dropFirst())\0".utf8))
      let file = folder.appendingPathComponent("crowd-\(index).so")
      try copy.write(to: file)
      return file.path
    }
  }

  private func measured(
    _ files: [String], by manager: ModuleManager, _ point: HookPoint<UInt64, Memb>, _ threads: Int,
    on machine: Machine
  ) throws -> (readers: Double, callbacks: Double, gracePeriods: Double, whole: Double) {
    let traffic = try BusyReaders(
      threads,
      of: Contender(
        name: "crowd",
        read: { _, rounds in
          var called: UInt64 = 0
          for _ in 0..<rounds { _ = point.dispatch(&called) }
          return called
        }), on: machine.processors)
    defer { _ = traffic.end() }
    let names = try files.map { try manager.load(path: $0).name }
    var called: UInt64 = 0
    _ = point.dispatch(&called)
    if called != UInt64(files.count) {
      throw MeasurementError("unload: \(called) of \(files.count) hooks are called")
    }
    let trace = manager.trace(capacity: 1 << 13)
    let before = Memb.completedGracePeriods
    let start = peer_wall_nanoseconds()
    let unloads = try manager.unload(together: names, ifBusy: .wait)
    let whole = Double(peer_wall_nanoseconds() - start)
    let gracePeriods = Double(Memb.completedGracePeriods - before)
    trace.stop()
    for unload in unloads {
      guard case .success(.unloaded(let report)) = unload.result, report.unmapped else {
        throw MeasurementError("unload: \(unload.module): \(unload.result)")
      }
    }
    let events = trace.read().events
    return (Self.wait(.readers, events), Self.wait(.callbacks, events), gracePeriods, whole)
  }

  /// The nanoseconds from the last beginning to the first end: the spans of modules that wait
  /// together are nested, and recording a hundred of them takes time too.
  private static func wait(_ kind: TraceEvent.Kind, _ events: [TraceEvent]) -> Double {
    var start: UInt64?
    var sum: UInt64 = 0
    for event in events where event.kind == kind {
      if event.phase == .begin {
        start = event.nanoseconds
      } else if let begin = start {
        sum += event.nanoseconds - begin
        start = nil
      }
    }
    return Double(sum)
  }
}
