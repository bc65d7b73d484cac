import Bigref
import CPeers
import Synchronization

/// The cost of killing many counters: with one barrier for all, and with one barrier for each.
struct KillMeasurement {
  let experiment: ExperimentName

  func rows(on machine: Machine, _ scale: Scale) throws -> [Row] {
    if machine.processors.count == 1 { return [] }
    let count = scale.isQuick ? 1000 : 10_000
    var batch = Rounds()
    var single = Rounds()
    var barriers = 0
    for _ in 0..<scale.fewRounds {
      let round = try measured(count, on: machine)
      batch.add(round.batch)
      single.add(round.single)
      barriers = max(barriers, round.barriers)
    }
    let parameter = Row.Parameter("kill", Double(count))
    func row(_ name: String, _ rounds: Rounds) -> Row {
      Row(
        experiment, name, threads: 1, parameter, nanoseconds: rounds.best, median: rounds.median, clock: .wall
      )
    }
    let singles = row("Bigref.kill, one by one", single)
    var batches = row("KillBatch.confirm", batch).compared(to: singles, as: singles.contender, wanted: 0.1)
    batches.also["barriers"] = Double(barriers)
    return [singles, batches]
  }

  private struct Round {
    var batch = 0.0
    var single = 0.0
    var barriers = 0
  }

  private func measured(_ count: Int, on machine: Machine) throws -> Round {
    let isDone = Shared(Atomic(false))
    let results = try PinnedThreads(processors: machine.processors).run(2) { index, start -> Round? in
      if index == 1 {
        start.wait()
        // Busy, because a barrier interrupts only processors that run the process.
        while !isDone.value.load(ordering: .relaxed) {}
        return nil
      }
      defer { isDone.value.store(true, ordering: .relaxed) }
      let first = (0..<count).map { _ in Shared(Bigref()) }
      let second = (0..<count).map { _ in Shared(Bigref()) }
      start.wait()
      var round = Round()
      let barriers = Bigref.statistics.barriers
      var batch = KillBatch()
      let begin = peer_wall_nanoseconds()
      for counter in first { batch.add(counter.value) }
      batch.confirm()
      let middle = peer_wall_nanoseconds()
      round.barriers = Bigref.statistics.barriers - barriers
      for counter in second { counter.value.kill() }
      let end = peer_wall_nanoseconds()
      round.batch = Double(middle - begin) / Double(count)
      round.single = Double(end - middle) / Double(count)
      let isZero = (first + second).allSatisfy { $0.value.isZero }
      return isZero ? round : nil
    }
    guard let round = results[0] else {
      throw MeasurementError("bigref: a counter that was killed is not zero")
    }
    return round
  }

  /// Lends a noncopyable value to closures.
  private final class Shared<Value: ~Copyable & Sendable>: Sendable {
    let value: Value

    init(_ value: consuming Value) { self.value = value }
  }
}
