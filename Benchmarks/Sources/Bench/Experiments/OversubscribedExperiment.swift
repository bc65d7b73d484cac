import CPeers
import Quiescence
import Synchronization

/// Grace periods when more threads read than there are processors, and what they cost the readers.
struct OversubscribedExperiment: Experiment {
  let name = ExperimentName.oversubscribed
  let hasPromises = true

  let notes = [
    "`threads` read without a pause, where the system puts them; one more thread waits for grace periods, `apart_us`",
    "after the last one ended. The clock on the wall; p50 and p99 of the calls of all rounds.",
    "`beside a stalled reader`: pinned readers, while another one stays in its section and a grace period waits for it.",
    "`without yields`: the same readers when a leave never gives the processor up; processor time, pinned.",
  ]

  func skipped(on machine: Machine) -> [String] {
    machine.processors.count > 1 ? [] : ["reads beside a writer, since there is one processor only."]
  }

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let contenders =
      Contender.boxes().filter { $0.name == "RCUBox.read, Memb" } + [.online()]
      + [peer_memb, peer_qsbr].compactMap { Contender($0) }
    let named = Dictionary(uniqueKeysWithValues: contenders.map { ($0.name, $0) })
    let pairs = Self.flavors.compactMap { ours, c in
      named[ours].flatMap { ours in named[c].map { (ours, $0) } }
    }
    var rows: [Row] = []
    for (ours, c) in pairs {
      let waits = WaitMeasurement(experiment: name, ours: ours, c: c)
      for factor in scale.isQuick ? [2] : [1, 2, 4] {
        for apart in [1_000_000, 0] as [UInt64] {
          rows += try await waits.rows(factor, apart: apart, on: machine, scale)
        }
      }
    }
    for (ours, c) in pairs {
      rows += try StalledReaderMeasurement(experiment: name).rows(
        of: [c, ours], judged: ours.name, on: machine, scale)
    }
    if machine.processors.count > 1 {
      for (ours, _) in pairs {
        rows += try YieldMeasurement(experiment: name).rows(of: ours, on: machine, scale)
      }
    }
    return rows
  }

  /// Ours, and the same in C.
  private static let flavors = [
    ("RCUBox.read, Memb", "memb, C inlined"), ("RCUBox.read, QSBR, online", "qsbr, C inlined"),
  ]
}

extension Contender {
  /// Online in each call of `read`, with quiescent states at every 64th read.
  fileprivate static func online() -> Contender {
    final class Cell: Sendable {
      let box = RCUBox(Item(), flavor: QSBR.self)
    }
    let cell = Cell()
    return Contender(
      name: "RCUBox.read, QSBR, online",
      read: { _, count in
        onlineSum(count) { cell.box.read { $0.number } }
      },
      work: { length, count in
        onlineSum(count) { cell.box.read { peer_work($0.number, length) } }
      },
      update: { cell.box.exchange(Item()) }, synchronize: { QSBR.synchronize() }, drain: { QSBR.barrier() })
  }
}

@inline(__always)
private func onlineSum(_ count: UInt64, _ read: () -> UInt64) -> UInt64 {
  QSBR.withOnlineReader { reader in
    var sum: UInt64 = 0
    for _ in 0..<(count / 64) {
      for _ in 0..<64 { sum &+= read() }
      reader.quiescentState()
    }
    return sum
  }
}

/// How long grace periods take beside busy readers that are not pinned.
private struct WaitMeasurement {
  let experiment: ExperimentName
  let ours: Contender
  let c: Contender

  private var isMemb: Bool { ours.name.hasSuffix("Memb") }

  /// - Parameters:
  ///   - factor: How many times as many readers as processors.
  ///   - apart: Nanoseconds from the end of one grace period to the start of the next.
  func rows(_ factor: Int, apart: UInt64, on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let busy = factor * machine.processors.count
    let limit: UInt64 = scale.isQuick ? 50_000_000 : 300_000_000
    var mine: [Double] = []
    var async: [Double] = []
    var others: [Double] = []
    for _ in 0..<max(scale.fewRounds, 2) {
      others += try await beside(busy, c) { try Self.times(apart, limit, c) }
      mine += try await beside(busy, ours) { try Self.times(apart, limit, ours) }
      if isMemb {
        async += try await beside(busy, ours) {
          await Task.detached { await Self.asyncTimes(apart, limit) }.value
        }
      }
    }
    let parameter = Row.Parameter("apart_us", Double(apart) / 1000)
    let flavor = isMemb ? "Memb" : "QSBR"
    var rows: [Row] = []
    // liburcu is fast already where a processor has one reader (the reader that the waiter has
    // preempted runs on when the waiter sleeps), and at the median of grace periods back to back.
    func isJudged(_ quantile: Double) -> Bool {
      quantile > 0.5 ? factor > 1 || (isMemb && apart > 0) : apart > 0 && (factor > 1 || isMemb)
    }
    for (quantile, words, wanted) in [(0.5, "", 1.0 / 50), (0.99, ", p99", 1.0 / 20)] {
      func row(_ name: String, _ times: [Double]) -> Row {
        let sorted = times.sorted()
        let figure = sorted[min(sorted.count - 1, Int(Double(sorted.count) * quantile))]
        return Row(
          experiment, name + words, threads: busy, parameter, nanoseconds: figure, median: figure,
          clock: .wall)
      }
      let peer = row("\(isMemb ? "memb" : "qsbr") synchronize_rcu, C", others)
      rows.append(peer)
      rows.append(
        row("\(flavor).synchronize()", mine).besideC(peer, wanted: isJudged(quantile) ? wanted : nil))
      if isMemb {
        rows.append(
          row("await Memb.synchronize()", async).besideC(peer, wanted: isJudged(quantile) ? wanted : nil))
      }
    }
    return rows
  }

  private func beside(
    _ busy: Int, _ contender: Contender, _ body: () async throws -> [Double]
  ) async throws -> [Double] {
    let readers = try BusyReaders(busy, of: contender, on: nil)
    defer { readers.end() }
    return try await body()
  }

  /// On a thread that is not pinned.
  private static func times(_ apart: UInt64, _ limit: UInt64, _ contender: Contender) throws -> [Double] {
    guard let synchronize = contender.synchronize else { return [] }
    return try onUnpinnedThread {
      contender.begin()
      // A thread that waits reads nothing.
      contender.rest()
      defer {
        contender.wake()
        contender.end()
      }
      var times: [Double] = []
      let end = peer_wall_nanoseconds() + limit
      repeat {
        if apart > 0 { peer_sleep(apart) }
        let before = peer_wall_nanoseconds()
        synchronize()
        times.append(Double(peer_wall_nanoseconds() - before))
      } while peer_wall_nanoseconds() < end
      return times
    }
  }

  private static func asyncTimes(_ apart: UInt64, _ limit: UInt64) async -> [Double] {
    var times: [Double] = []
    let end = peer_wall_nanoseconds() + limit
    repeat {
      if apart > 0 { try? await Task.sleep(nanoseconds: apart) }
      let before = peer_wall_nanoseconds()
      await Memb.synchronize()
      times.append(Double(peer_wall_nanoseconds() - before))
    } while peer_wall_nanoseconds() < end
    return times
  }
}

/// What readers lose while one of them stays in its section and a grace period waits for it.
private struct StalledReaderMeasurement {
  let experiment: ExperimentName

  func rows(of contenders: [Contender], judged: String, on machine: Machine, _ scale: Scale) throws -> [Row] {
    let readers = machine.processors.count
    var alone = contenders.map { _ in Rounds() }
    var stalled = contenders.map { _ in Rounds() }
    for _ in 0..<scale.rounds {
      for (index, contender) in contenders.enumerated() {
        alone[index].add(try time(contender, readers, on: machine, scale))
        let stall = try Stall(online: contender.name.lowercased().contains("qsbr"))
        defer { stall.end() }
        stalled[index].add(try time(contender, readers, on: machine, scale))
      }
    }
    return contenders.indices.flatMap { index in
      let name = contenders[index].name
      let base = row(name, alone[index], readers)
      // At least 0.95 of the reads.
      return [
        base,
        row("\(name), beside a stalled reader", stalled[index], readers)
          .compared(to: base, as: name, wanted: name == judged ? 1 / 0.95 : nil),
      ]
    }
  }

  private func row(_ name: String, _ rounds: Rounds, _ readers: Int) -> Row {
    Row(experiment, name, threads: readers, nanoseconds: rounds.best, median: rounds.median, clock: .wall)
  }

  /// Nanoseconds a read, on the clock on the wall: wake-ups take processors from all.
  private func time(_ contender: Contender, _ readers: Int, on machine: Machine, _ scale: Scale) throws
    -> Double
  {
    let duration: UInt64 = scale.isQuick ? 5_000_000 : 20_000_000
    let times = try PinnedThreads(processors: machine.processors).run(readers) { _, start -> Double in
      contender.begin()
      defer { contender.end() }
      start.wait()
      var count: UInt64 = 0
      let before = peer_wall_nanoseconds()
      var now = before
      while now < before + duration {
        _ = contender.work?(20, 256)
        count += 256
        now = peer_wall_nanoseconds()
      }
      return Double(now - before) / Double(count)
    }
    return times.reduce(0, +) / Double(readers)
  }

  /// A reader that stays in its section, and a grace period that waits for it.
  private struct Stall {
    private let reader: IdleThreads
    private let waiter: Thread

    init(online: Bool) throws {
      if online {
        // Registers, and so is online until the end.
        guard let qsbr = Contender(peer_qsbr) else { throw MeasurementError("oversubscribed: no qsbr") }
        reader = try IdleThreads(1, enter: qsbr.begin, leave: qsbr.end)
        waiter = try Thread { QSBR.synchronize() }
      } else {
        reader = try IdleThreads(1, enter: { Memb.unsafeEnter() }, leave: { Memb.unsafeLeave() })
        waiter = try Thread { Memb.synchronize() }
      }
      // Until the waiter sleeps: what is measured later does not depend on it.
      peer_sleep(1_000_000)
    }

    func end() {
      reader.end()
      waiter.join()
    }
  }
}

/// What the yields of leaves cost readers beside a writer.
private struct YieldMeasurement {
  let experiment: ExperimentName

  func rows(of contender: Contender, on machine: Machine, _ scale: Scale) throws -> [Row] {
    let update = UpdateExperiment()
    let readers = machine.processors.count - 1
    var waiting = contender
    // Offline, for a flavor whose threads are readers all the time.
    waiting.update = {
      contender.rest()
      contender.synchronize?()
      contender.wake()
    }
    let loads: [(String, Contender, Double?)] =
      ([0, 1000, 100_000, nil] as [Double?]).map { ("per_s", contender, $0) } + [
        ("grace_periods_per_s", waiting, nil)
      ]
    var rows: [Row] = []
    for (parameter, contender, rate) in loads {
      var with = Rounds()
      var without = Rounds()
      for _ in 0..<scale.fewRounds {
        with.add(
          try update.round(contender, rate: rate, chunk: 4096, readers: readers, on: machine, scale).read)
        peer_forbid_yields(true)
        defer { peer_forbid_yields(false) }
        without.add(
          try update.round(contender, rate: rate, chunk: 4096, readers: readers, on: machine, scale).read)
      }
      func row(_ name: String, _ rounds: Rounds) -> Row {
        Row(
          experiment, name, threads: readers, Row.Parameter(parameter, rate), nanoseconds: rounds.best,
          median: rounds.median, clock: .thread)
      }
      let base = row("\(contender.name), without yields", without)
      rows += [base, row(contender.name, with).compared(to: base, as: base.contender, wanted: 1 / 0.95)]
    }
    return rows
  }
}

/// Runs `body` on a thread of its own, where the system puts it.
private func onUnpinnedThread(_ body: @escaping @Sendable () -> [Double]) throws -> [Double] {
  let times = Times()
  try Thread { times.all.withLock { $0 = body() } }.join()
  return times.all.withLock { $0 }
}

private final class Times: Sendable {
  let all = Mutex<[Double]>([])
}
