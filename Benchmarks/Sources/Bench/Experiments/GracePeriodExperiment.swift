import CPeers
import Quiescence

/// How long a writer waits for its readers: with threads that do nothing, with threads that read
/// all the time, and without blocking a thread.
struct GracePeriodExperiment: Experiment {
  let name = ExperimentName.gracePeriod
  let hasPromises = true

  let notes = [
    "Wall-clock time, p50 of a round's calls on one pinned thread; `p99_ns` is the median of the rounds' p99.",
    "`idle`: the number of threads that have read and now do nothing. `busy`: that read without a pause.",
    "Readers and waiter use the same contender; for a lock, waiting means to acquire it for writing.",
    "Tasks are not pinned to processors.",
  ]

  func skipped(on machine: Machine) -> [String] { Contender.missingPeers }

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let waiters = (Contender.boxes() + Contender.peers()).compactMap(Waiter.init)
    let flavors = waiters.filter { Waiter.inC.keys.contains($0.name) || Waiter.inC.values.contains($0.name) }
    var rows: [Row] = []
    let some = scale.promisedOnly ? flavors.filter { $0.name.lowercased().hasPrefix("memb") } : flavors
    for idle in scale.promisedOnly || scale.isQuick ? [0, 1000] : [0, 1, 10, 100, 1000, 4096] {
      rows += try await idleRows(some, idle, on: machine, scale)
    }
    if !scale.promisedOnly {
      for busy in scale.isQuick ? [0, machine.processors.count] : [0] + machine.threadCounts {
        rows += try await busyRows(waiters, busy, on: machine, scale)
      }
    }
    rows += try await WaitingTasks(experiment: name).rows(on: machine, scale)
    return rows
  }

  private func idleRows(
    _ waiters: [Waiter], _ idle: Int, on machine: Machine, _ scale: Scale
  ) async throws -> [Row] {
    var rounds = waiters.map { _ in LatencyRounds() }
    var async = LatencyRounds()
    let calls = scale.isQuick ? 100 : 500
    for round in 0..<scale.rounds {
      for (index, waiter) in waiters.enumerated() {
        let isJudged = waiter.name.lowercased().hasPrefix("memb")
        if round >= (isJudged && idle <= 1000 ? scale.rounds : scale.fewRounds) { continue }
        let threads = try IdleThreads(idle, of: waiter.contender)
        defer { threads.end() }
        rounds[index].add(try waiter.latencies(calls, within: 50_000_000, on: machine))
        if waiter.name == "Memb.synchronize()" && !scale.promisedOnly {
          async.add(await Latencies.measured(calls, within: 50_000_000) { await Memb.synchronize() })
        }
      }
    }
    let parameter = Row.Parameter("idle", Double(idle))
    var rows = zip(waiters, rounds).map { $1.row(name, $0.name, threads: 1, parameter) }
    if !scale.promisedOnly { rows.append(async.row(name, Waiter.asyncName, threads: 1, parameter)) }
    return rows.besideC(Waiter.inC, wanted: idle == 1000 ? ["Memb.synchronize()": 1.1] : [:])
  }

  private func busyRows(
    _ waiters: [Waiter], _ busy: Int, on machine: Machine, _ scale: Scale
  ) async throws -> [Row] {
    var rounds = waiters.map { _ in LatencyRounds() }
    var async = LatencyRounds()
    let limit: UInt64 = scale.isQuick ? 20_000_000 : 100_000_000
    for _ in 0..<min(scale.fewRounds, 3) {
      for (index, waiter) in waiters.enumerated() {
        let readers = try BusyReaders(busy, of: waiter.contender, on: machine.processors)
        defer { readers.end() }
        rounds[index].add(try waiter.latencies(1000, within: limit, on: machine))
        if waiter.name == "Memb.synchronize()" {
          async.add(await Latencies.measured(1000, within: limit) { await Memb.synchronize() })
        }
      }
    }
    let parameter = Row.Parameter("busy", Double(busy))
    let rows = zip(waiters, rounds).map { $1.row(name, $0.name, threads: 1, parameter) }
    return (rows + [async.row(name, Waiter.asyncName, threads: 1, parameter)]).besideC(Waiter.inC)
  }
}

/// A contender with a way to wait for its readers.
private struct Waiter: Sendable {
  let name: String
  let contender: Contender
  private let synchronize: @Sendable () -> Void

  static let asyncName = "await Memb.synchronize()"

  /// The equivalent contender in C.
  static let inC = [
    asyncName: "memb synchronize_rcu, C",
    "Memb.synchronize()": "memb synchronize_rcu, C", "QSBR.synchronize()": "qsbr synchronize_rcu, C",
    "MB.synchronize()": "mb synchronize_rcu, C", "Bulletproof.synchronize()": "bp synchronize_rcu, C",
  ]

  init?(_ contender: Contender) {
    guard let synchronize = contender.synchronize, !contender.name.hasSuffix("called") else { return nil }
    self.synchronize = synchronize
    self.contender = contender
    if contender.name.hasPrefix("RCUBox.read, ") {
      name = "\(contender.name.dropFirst("RCUBox.read, ".count)).synchronize()"
    } else if contender.name.hasSuffix(", C inlined") {
      name = "\(contender.name.dropLast(", C inlined".count)) synchronize_rcu, C"
    } else {
      name = contender.name
    }
  }

  func latencies(_ calls: Int, within limit: UInt64, on machine: Machine) throws -> Latencies {
    try PinnedThreads(processors: machine.processors).run(1) { _, _ in
      contender.begin()
      defer { contender.end() }
      return Latencies.measured(calls, within: limit, synchronize)
    }[0]
  }
}

/// The durations of waits that do not block the caller's thread, and of barriers.
private struct WaitingTasks {
  let experiment: ExperimentName

  /// Registered readers that do nothing.
  private let idle = 4

  func rows(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let idleThreads = try IdleThreads(idle, enter: { Memb.read { _ in } }, leave: {})
    defer { idleThreads.end() }
    // Each call of liburcu takes 10 ms.
    let slowCalls = scale.isQuick ? 3 : 10
    let calls = scale.isQuick ? 200 : 1000
    let limit: UInt64 = 1_000_000_000
    var asyncSynchronize = LatencyRounds()
    var asyncBarrier = LatencyRounds()
    var barrier = LatencyRounds()
    var callRCU = LatencyRounds()
    var barrierRCU = LatencyRounds()
    for _ in 0..<scale.rounds {
      asyncSynchronize.add(await Latencies.measured(calls, within: limit) { await Memb.synchronize() })
      asyncBarrier.add(await Latencies.measured(calls, within: limit) { await Memb.barrier() })
      barrier.add(try pinned(calls, on: machine) { Memb.barrier() })
      callRCU.add(try pinned(slowCalls, on: machine) { peer_memb_call_and_wait() })
      barrierRCU.add(try pinned(slowCalls, on: machine) { peer_memb_barrier() })
    }
    let call = row("memb call_rcu to its callback, C", callRCU)
    let empty = row("memb rcu_barrier, empty, C", barrierRCU)
    return [
      call,
      row("await Memb.synchronize()", asyncSynchronize).besideC(call).limited(to: 50_000),
      empty,
      row("await Memb.barrier(), empty", asyncBarrier).besideC(empty).limited(to: 100_000),
      row("Memb.barrier(), empty", barrier).besideC(empty).limited(to: 100_000),
    ]
  }

  /// A row whose figure is the median of the rounds' p50.
  private func row(_ contender: String, _ rounds: LatencyRounds) -> Row {
    var row = Row(
      experiment, contender, threads: 1, Row.Parameter("idle", Double(idle)),
      nanoseconds: rounds.p50.median, median: rounds.p50.median, clock: .wall)
    row.also["p99_ns"] = rounds.p99.median
    return row
  }

  private func pinned(
    _ calls: Int, on machine: Machine, _ call: @escaping @Sendable () -> Void
  ) throws -> Latencies {
    try PinnedThreads(processors: machine.processors).run(1) { _, _ in
      // call_rcu requires a registered thread.
      peer_call_rcu.begin()
      defer { peer_call_rcu.end() }
      return Latencies.measured(calls, within: 1_000_000_000, call)
    }[0]
  }
}
