import CPeers
import ModuleManager
import Quiescence

/// How long it takes to unload code that threads call all the time, and how the unload affects the
/// calls.
struct UnloadExperiment: Experiment {
  let name = ExperimentName.unload
  let hasPromises = true

  let notes = [
    "Wall-clock time from the request until the image is gone; p50 of the rounds' loads and unloads.",
    "`threads` is the number of threads that call the module's hook without a pause. `call_ns` is the processor",
    "time of their calls during that, including times when nothing was loaded; `load_ns` is the p50 of the load.",
    "`idle`: the number of threads that have read and now do nothing, without callers.",
    "`load`, `unload`, `replace`: beside the loader's own calls alone, with the same file.",
  ]

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let path = try TrafficModule.path()
    let processors = machine.processors.count
    let unloaders = try Unloader.all(path).filter {
      !scale.promisedOnly || $0.name == Unloader.judgedName || $0.name == Unloader.lockedName
    }
    // Under load an unload waits neither for the scheduler nor for a slice of a caller.
    let judged = [processors, 2 * processors]
    let counts = scale.isQuick ? [0, processors] : [0] + machine.threadCounts
    var rows: [Row] = []
    for threads in scale.promisedOnly ? judged : counts {
      for unloader in unloaders {
        let row = try row(unloader, threads, on: machine, scale)
        let isJudged = unloader.name == Unloader.judgedName && judged.contains(threads)
        rows.append(isJudged ? row.limited(to: 150_000) : row)
      }
    }
    let peer = Unloader.lockedName
    let beside = rows.besideC(Dictionary(uniqueKeysWithValues: unloaders.map { ($0.name, peer) }))
    if scale.promisedOnly { return beside }
    let idle = try unloaders.filter { $0.name == Unloader.judgedName }.flatMap { unloader in
      try (scale.isQuick ? [1000] : [1000, 4096]).map { try row(unloader, idle: $0, on: machine, scale) }
    }
    return beside + idle
      + (try TogetherMeasurement(experiment: name).rows(on: machine, scale))
      + (try ReplaceMeasurement(experiment: name).rows(on: machine, scale))
  }

  private func row(_ unloader: Unloader, _ threads: Int, on machine: Machine, _ scale: Scale) throws -> Row {
    var unloads = Rounds()
    var tails = Rounds()
    var loads = Rounds()
    var calls = Rounds()
    for _ in 0..<scale.fewRounds {
      let traffic = try BusyReaders(
        threads, of: Contender(name: unloader.name, read: { unloader.dispatch($1) }), on: machine.processors)
      let outcome = try PinnedThreads(processors: machine.processors).run(1) { _, _ in
        Result { try cycles(unloader, scale.isQuick ? 5 : 20, hasTraffic: threads > 0) }
      }[0]
      if let call = traffic.end() { calls.add(call) }
      let (load, unload) = try outcome.get()
      loads.add(load.median)
      unloads.add(unload.median)
      tails.add(unload.sorted()[unload.count * 99 / 100])
    }
    var row = Row(
      name, unloader.name, threads: threads, nanoseconds: unloads.median, median: unloads.median, clock: .wall
    )
    row.also = ["load_ns": loads.median, "p99_ns": tails.median]
    if threads > 0 { row.also["call_ns"] = calls.median }
    return row
  }

  /// Beside threads that have read and now do nothing.
  private func row(_ unloader: Unloader, idle: Int, on machine: Machine, _ scale: Scale) throws -> Row {
    let threads = try IdleThreads(idle, enter: { Memb.read { _ in } }, leave: {})
    defer { threads.end() }
    var unloads = Rounds()
    for _ in 0..<scale.fewRounds {
      let outcome = try PinnedThreads(processors: machine.processors).run(1) { _, _ in
        Result { try cycles(unloader, scale.isQuick ? 5 : 20, hasTraffic: false) }
      }[0]
      unloads.add(try outcome.get().unloads.median)
    }
    return Row(
      name, unloader.name, threads: 0, Row.Parameter("idle", Double(idle)), nanoseconds: unloads.median,
      median: unloads.median, clock: .wall)
  }

  /// Loads and unloads `count` times. Returns the time of each.
  private func cycles(
    _ unloader: Unloader, _ count: Int, hasTraffic: Bool
  ) throws -> (loads: [Double], unloads: [Double]) {
    var loads: [Double] = []
    var unloads: [Double] = []
    for _ in 0..<count {
      let before = peer_wall_nanoseconds()
      try unloader.load()
      loads.append(Double(peer_wall_nanoseconds() - before))
      if unloader.dispatch(1) != 1 {
        throw MeasurementError("unload: \(unloader.name): loaded, but not called")
      }
      let start = peer_wall_nanoseconds()
      try unloader.unload()
      unloads.append(Double(peer_wall_nanoseconds() - start))
      if unloader.dispatch(1) != 0 {
        throw MeasurementError("unload: \(unloader.name): called after it was gone")
      }
    }
    return (loads, unloads)
  }
}

/// A way to unload.
private struct Unloader: Sendable {
  let name: String
  let load: @Sendable () throws -> Void
  let unload: @Sendable () throws -> Void
  /// Calls the hook this many times, if it is there. Returns how many calls found it.
  let dispatch: @Sendable (UInt64) -> UInt64

  /// With the default scheme.
  static let judgedName = "ModuleManager, bigref"
  static let lockedName = "pthread_rwlock and dlclose, C"

  static func all(_ path: String) throws -> [Unloader] {
    UnloadScheme.all.map { managed("ModuleManager, \($0.name)", ModuleManager(scheme: $0), path) } + [
      locked(path)
    ]
  }

  private static func managed(_ name: String, _ manager: ModuleManager, _ path: String) -> Unloader {
    let point = HookPoint<UInt64, Memb>(
      "traffic", argumentType: TrafficModule.argumentType, flavor: Memb.self)
    manager.provide(point)
    return Unloader(
      name: name,
      load: { try TrafficModule.load(into: manager) },
      unload: {
        // Waits for calls that the scheme counts as users.
        let outcome = try manager.unload(TrafficModule.name, ifBusy: .wait)
        guard case .unloaded = outcome else { throw MeasurementError("unload: \(name): \(outcome)") }
      },
      dispatch: { rounds in
        var called: UInt64 = 0
        for _ in 0..<rounds { _ = point.dispatch(&called) }
        return called
      })
  }

  /// A lock around every call.
  private static func locked(_ path: String) -> Unloader {
    Unloader(
      name: lockedName,
      load: {
        let error = peer_locked_load(path)
        if error != 0 { throw MeasurementError("unload: dlopen: \(errnoName(error))") }
      },
      unload: {
        let error = peer_locked_unload()
        if error != 0 { throw MeasurementError("unload: dlclose: \(errnoName(error))") }
      },
      dispatch: { peer_locked_dispatch($0) })
  }
}
