import CPeers
import Quiescence

/// Sections that may suspend: their cost when they do not suspend, and the duration of their grace
/// periods.
struct SleepableExperiment: Experiment {
  let name = ExperimentName.sleepable
  let hasPromises = true

  let notes = [
    "A section around a load, as in `read`; and around a call of an async function that does not suspend, on a task.",
    "`await, a count around it` is that call in a function of the same shape, which only increments and decrements a",
    "number: the task must return to its executor to decrement. `await` alone need not, and is shown for comparison.",
    "A grace period of a domain without open sections; wall-clock time.",
  ]

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let domain = Domain()
    return try sections(domain, on: machine, scale) + (await calls(domain, scale))
      + [await gracePeriods(domain, scale)]
  }

  private func sections(_ domain: Domain, on machine: Machine, _ scale: Scale) throws -> [Row] {
    let timer = ReaderTimer(name, on: machine)
    let contender = Contender(name: "SleepableBox.read", read: { domain.read(at: $0, $1) })
    let size = try timer.size(contender, nanoseconds: scale.isQuick ? 1e6 : 5e6, readers: 1) {
      contender.read(0, $0)
    }
    return try (machine.processors.count == 1 ? [1] : machine.threadCounts).map { threads in
      let places = try (0..<Int32(PEER_PLACES)).map { place in
        var rounds = Rounds()
        for _ in 0..<min(scale.rounds, 11) {
          rounds.add(try timer.time(contender, size, readers: threads) { contender.read(place, $0) })
        }
        return rounds
      }
      // Not empty: there are several places.
      let best = places.min { $0.isFaster(than: $1) }!
      return Row(
        name, contender.name, threads: threads, nanoseconds: best.best, median: best.median, clock: .thread
      ).limited(to: 3)
    }
  }

  private func calls(_ domain: Domain, _ scale: Scale) async -> [Row] {
    let count: UInt64 = scale.isQuick ? 50_000 : 500_000
    var bare = Rounds(), counted = Rounds(), protected = Rounds()
    for _ in 0..<scale.rounds {
      bare.add(await timed(count) { await domain.callBare($0) })
      counted.add(await timed(count) { await domain.callCounted($0) })
      protected.add(await timed(count) { await domain.callProtected($0) })
    }
    func row(_ contender: String, _ rounds: Rounds) -> Row {
      Row(name, contender, threads: 1, nanoseconds: rounds.best, median: rounds.median, clock: .thread)
    }
    let difference = Row(
      name, "what a domain adds to that", threads: 1, nanoseconds: protected.best - counted.best,
      median: protected.median - counted.median, clock: .thread)
    return [
      row("await", bare), row("await, a count around it", counted),
      row("await SleepableDomain.read", protected),
      difference.limited(to: 3),
    ]
  }

  /// Processor time per call. Nothing suspends, so the task stays on its thread.
  private func timed(_ count: UInt64, _ body: @escaping @Sendable (UInt64) async -> UInt64) async -> Double {
    await Task.detached {
      _ = await body(count / 8)
      let before = peer_thread_nanoseconds()
      let sum = await body(count)
      let after = peer_thread_nanoseconds()
      return sum == count &* publishedNumber ? Double(after - before) / Double(count) : .nan
    }.value
  }

  private func gracePeriods(_ domain: Domain, _ scale: Scale) async -> Row {
    var rounds = LatencyRounds()
    for _ in 0..<scale.fewRounds {
      rounds.add(await Latencies.measured(500, within: 50_000_000) { await domain.synchronize() })
    }
    return rounds.row(name, "await SleepableDomain.synchronize()", threads: 1, nil).limited(to: 50_000)
  }
}

/// The domain and the values that the contenders read.
private final class Domain: Sendable {
  private let domain = SleepableDomain("bench")
  private let box: SleepableBox<Item>
  private let plain = PlainCount()

  init() { box = SleepableBox(Item(), in: domain) }

  @inline(never)
  func read(at place: Int32, _ count: UInt64) -> UInt64 {
    Contender.sum(at: place, count) { box.read { $0.number } }
  }

  func synchronize() async { await domain.synchronize() }

  @inline(never)
  nonisolated(nonsending) func callBare(_ count: UInt64) async -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= await number() }
    return sum
  }

  @inline(never)
  nonisolated(nonsending) func callCounted(_ count: UInt64) async -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= await plain.around { await number() } }
    return sum
  }

  @inline(never)
  nonisolated(nonsending) func callProtected(_ count: UInt64) async -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= await domain.read { _ in await number() } }
    return sum
  }
}

@inline(never)
private nonisolated(nonsending) func number() async -> UInt64 { peer_opaque(3) }

/// The same shape as a domain, without protection.
private struct PlainCount: Sendable {
  private nonisolated(unsafe) let count = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)

  init() { count.initialize(to: 0) }

  @inline(__always)
  nonisolated(nonsending) func around<Result, Failure: Error>(
    _ body: nonisolated(nonsending) () async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    count.pointee &+= 1
    defer { count.pointee &-= 1 }
    return try await body()
  }
}
