import CPeers
import Quiescence
import QuiescentCollections

/// Lookups beside a writer that inserts many entries and removes them again: in a table that grows
/// and shrinks meanwhile, and in one that has room for all of them from the beginning.
struct ResizeMeasurement {
  let experiment: ExperimentName

  private typealias Table = RCUDictionary<FastHashed<UInt64>, UInt64, Memb>

  /// How many times as many entries come and go as stay.
  private let passing: UInt64 = 15

  func rows(_ entries: UInt64, on machine: Machine, _ scale: Scale) throws -> [Row] {
    if machine.processors.count == 1 { return [] }
    var rounds = (resized: Rounds(), roomy: Rounds())
    for _ in 0..<max(scale.fewRounds, min(scale.rounds, 11)) {
      rounds.resized.add(try time(entries, room: entries, machine))
      rounds.roomy.add(try time(entries, room: entries * (passing + 1), machine))
    }
    let roomy = row("a writer, no resize", entries, rounds.roomy)
    let resized = row("a writer, resizes", entries, rounds.resized)
    return [roomy, resized.compared(to: roomy, as: roomy.contender, wanted: 2)]
  }

  private func row(_ words: String, _ entries: UInt64, _ rounds: Rounds) -> Row {
    Row(
      experiment, "RCUDictionary of FastHashed, \(words)", threads: 2,
      Row.Parameter("entries", Double(entries)),
      nanoseconds: rounds.best, median: rounds.median, clock: .thread)
  }

  /// Nanoseconds of the reader's processor time per lookup; not a number when it found a wrong
  /// value, or when the table was not resized as `room` says.
  private func time(_ entries: UInt64, room: UInt64, _ machine: Machine) throws -> Double {
    let table = SharedValue(Table(minimumCapacity: Int(room)))
    for index in 0..<entries { table.value[FastHashed(peer_key(index))] = index + 1 }
    let cycles = max(1, 100_000 / (entries * passing))
    let capacity = table.value.capacity
    let isOver = Counter(), resizes = Counter()
    let results = try PinnedThreads(processors: machine.processors).run(2) {
      [passing] index, start -> Double in
      start.wait()
      if index == 0 {
        for _ in 0..<cycles {
          for index in entries..<entries * (passing + 1) {
            table.value[FastHashed(peer_key(index))] = index + 1
          }
          if table.value.capacity != capacity { resizes.add() }
          for index in entries..<entries * (passing + 1) { table.value[FastHashed(peer_key(index))] = nil }
        }
        isOver.add()
        return 0
      }
      var operations = peer_operations(entries: entries, count: 1000)
      operations.seed = 0x9E37_79B9
      var lookups: UInt64 = 0
      var isRight = true
      let before = peer_thread_nanoseconds()
      while isOver.value == 0 {
        let missing = operations.sum {
          table.value.read(FastHashed(peer_key($0))) { $0 } == $0 + 1 ? 0 : 1
        } write: { _ in
        }
        if missing != 0 { isRight = false }
        operations.seed &+= 1
        lookups += operations.count
      }
      return isRight ? Double(peer_thread_nanoseconds() - before) / Double(lookups) : .nan
    }
    table.value.removeAll()
    Memb.barrier()
    return (resizes.value > 0) == (room == entries) ? results[1] : .nan
  }
}
