import CPeers
import ModuleManager
import Quiescence

/// What a load, an unload and a replacement cost, beside `dlopen` and `dlclose` of the same file
/// alone. `threads` call the hook meanwhile; the calls of the loader by itself have no callers,
/// since nothing would protect them.
struct ReplaceMeasurement {
  let experiment: ExperimentName

  private enum Name {
    static let load = "load, ModuleManager"
    static let unload = "unload, ModuleManager"
    static let replace = "replace, ModuleManager"
    static let open = "dlopen and dlsym, C"
    static let close = "dlclose, C"
    static let both = "dlopen, dlsym and dlclose, C"
  }

  func rows(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let path = try TrafficModule.path()
    let count = scale.isQuick ? 10 : 200
    let callers = scale.isQuick ? [0, 1] : [0] + machine.threadCounts
    var figures = Figures()
    let pinned = PinnedThreads(processors: machine.processors)
    func add(_ round: @escaping @Sendable () throws -> Round) throws {
      figures.add(try pinned.run(1) { _, _ in Result { try round() } }[0].get())
    }
    for _ in 0..<scale.fewRounds {
      try add { try Self.dlopens(path, count) }
      try add { try Self.loads(path, count) }
      for threads in callers {
        try add { try Self.replacements(path, count / 2, besideCallers: threads, on: pinned.processors) }
      }
    }
    let alone = [Name.open, Name.close, Name.both].map { figures.row(experiment, $0, 0) }
    func ours(_ name: String, _ threads: Int, beside peer: Row) -> Row {
      figures.row(experiment, name, threads).besideC(peer)
    }
    return alone + [ours(Name.load, 0, beside: alone[0]), ours(Name.unload, 0, beside: alone[1])]
      + callers.map { ours(Name.replace, $0, beside: alone[2]) }
  }

  /// The times of the calls of one round, under the names and thread counts of their rows.
  private typealias Round = [(name: String, threads: Int, times: [Double])]

  private struct Figures {
    private var p50: [String: Rounds] = [:], p99: [String: Rounds] = [:]

    mutating func add(_ round: Round) {
      for (name, threads, times) in round {
        p50["\(name) \(threads)", default: Rounds()].add(times.median)
        p99["\(name) \(threads)", default: Rounds()].add(times.sorted()[times.count * 99 / 100])
      }
    }

    func row(_ experiment: ExperimentName, _ name: String, _ threads: Int) -> Row {
      let key = "\(name) \(threads)"
      let median = (p50[key] ?? Rounds()).median
      var row = Row(experiment, name, threads: threads, nanoseconds: median, median: median, clock: .wall)
      row.also["p99_ns"] = (p99[key] ?? Rounds()).median
      return row
    }
  }

  /// The file itself, whose pages the kernel has in memory after the first time.
  private static func dlopens(_ path: String, _ count: Int) throws -> Round {
    var opens: [Double] = [], closes: [Double] = []
    for _ in 0..<count {
      let start = peer_wall_nanoseconds()
      let error = peer_locked_load(path)
      let loaded = peer_wall_nanoseconds()
      if error != 0 { throw MeasurementError("unload: dlopen: \(errnoName(error))") }
      if peer_locked_dispatch(1) != 1 { throw MeasurementError("unload: dlopen: loaded, but not called") }
      let before = peer_wall_nanoseconds()
      if peer_locked_unload() != 0 { throw MeasurementError("unload: dlclose failed") }
      closes.append(Double(peer_wall_nanoseconds() - before))
      opens.append(Double(loaded - start))
    }
    let both = zip(opens, closes).map(+)
    return [(Name.open, 0, opens), (Name.close, 0, closes), (Name.both, 0, both)]
  }

  private static func loads(_ path: String, _ count: Int) throws -> Round {
    let manager = ModuleManager(), point = Self.point(of: manager)
    var loads: [Double] = [], unloads: [Double] = []
    for _ in 0..<count {
      let start = peer_wall_nanoseconds()
      try TrafficModule.load(into: manager)
      let loaded = peer_wall_nanoseconds()
      try check(point, calls: 1)
      let before = peer_wall_nanoseconds()
      let outcome = try manager.unload(TrafficModule.name)
      unloads.append(Double(peer_wall_nanoseconds() - before))
      loads.append(Double(loaded - start))
      guard case .unloaded = outcome else { throw MeasurementError("unload: \(outcome)") }
      try check(point, calls: 0)
    }
    return [(Name.load, 0, loads), (Name.unload, 0, unloads)]
  }

  /// Throws if a call of another thread found no hook, or two.
  private static func replacements(
    _ path: String, _ count: Int, besideCallers threads: Int, on processors: [Int32]
  ) throws -> Round {
    let manager = ModuleManager(), point = Self.point(of: manager)
    try TrafficModule.load(into: manager)
    let wrong = Counter()
    let traffic = try BusyReaders(
      threads,
      of: Contender(
        name: Name.replace,
        read: { _, rounds in
          for _ in 0..<rounds {
            var called: UInt64 = 0
            _ = point.dispatch(&called)
            if called != 1 { wrong.add() }
          }
          return rounds
        }), on: processors)
    let times = try (0..<count).map { _ in
      let start = peer_wall_nanoseconds()
      let replacement = try manager.replace(TrafficModule.name, with: path, within: .seconds(60))
      let time = Double(peer_wall_nanoseconds() - start)
      guard case .success(.unloaded) = replacement.unload else {
        throw MeasurementError("unload: the old version stayed: \(replacement.unload)")
      }
      return time
    }
    traffic.end()
    if wrong.value != 0 {
      throw MeasurementError("unload: \(wrong.value) calls did not find one version during replacements")
    }
    try manager.unload(TrafficModule.name, ifBusy: .wait)
    return [(Name.replace, threads, times)]
  }

  private static func point(of manager: ModuleManager) -> HookPoint<UInt64, Memb> {
    let point = HookPoint<UInt64, Memb>(
      "traffic", argumentType: TrafficModule.argumentType, flavor: Memb.self)
    manager.provide(point)
    return point
  }

  private static func check(_ point: HookPoint<UInt64, Memb>, calls: UInt64) throws {
    var called: UInt64 = 0
    _ = point.dispatch(&called)
    if called != calls { throw MeasurementError("unload: \(called) calls, wanted \(calls)") }
  }
}
