import CPeers
import Synchronization

/// The cost of a read while a writer replaces the value, at a given rate or as often as it can.
struct UpdateExperiment: Experiment {
  let name = ExperimentName.update

  let notes = [
    "One writer on a processor of its own, readers on all the others. `per_s` is what the writer was told;",
    "`updates_per_s` is the rate reached. Each update allocates, and the old item is freed after its last reader.",
    "Readers' processor time, or wall-clock time for those that may sleep. Sums are checked.",
    "`by closure`: by RCUBox.update. `neighbor updated`: readers of the box that lies before the updated one.",
    "`given up`: updates that throw, so that they publish nothing.",
  ]

  let hasPromises = true

  /// An update that publishes nothing costs readers of the box, and of its neighbor, as much as one
  /// of a box that is far away. (One that publishes also wakes the reclaimer, whose grace periods
  /// interrupt readers now and then.)
  private let wanted = 1.1

  private let compared = [
    Contender.besideNeighbor: Contender.besideFar, Contender.givenUp: Contender.besideFarGivenUp,
    Contender.besideNeighborGivenUp: Contender.besideFarGivenUp,
  ]

  func skipped(on machine: Machine) -> [String] {
    machine.processors.count > 1
      ? Contender.missingPeers
      : ["everything, since there is one processor only: no thread reads while another writes."]
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    if machine.processors.count == 1 { return [] }
    let others = scale.promisedOnly ? [] : Contender.boxes() + Contender.swift() + Contender.peers()
    let contenders = (Contender.closureUpdates() + others).filter {
      $0.update != nil && !$0.name.hasSuffix("called")
    }
    let timer = ReaderTimer(name, on: machine)
    let rates: [Double?] =
      scale.promisedOnly ? [nil] : scale.isQuick ? [0, 1000, nil] : [0, 1000, 100_000, nil]
    // Between two tests of the clock, and between two quiescent states: 20 microseconds without a
    // writer.
    let chunks = try contenders.map { contender in
      try timer.size(contender, nanoseconds: 20_000, readers: 1) { contender.read(0, $0) }
    }
    let rows = try rates.flatMap { try self.rows(contenders, rate: $0, chunks, on: machine, scale) }
    let judged = rows.map { row in
      guard let name = compared[row.contender],
        let far = rows.first(where: { $0.contender == name && $0.parameter == row.parameter })
      else { return row }
      let isPromised = name == Contender.besideFarGivenUp && row.parameter?.value == nil
      return row.compared(to: far, as: far.contender, wanted: isPromised ? wanted : nil)
    }
    return judged.besideC(
      Dictionary(uniqueKeysWithValues: contenders.map { ($0.name, Contender.ownInC($0.name)) }))
  }

  /// The contenders take turns round by round: the machine's speed drifts.
  private func rows(
    _ contenders: [Contender], rate: Double?, _ chunks: [UInt64], on machine: Machine, _ scale: Scale
  ) throws -> [Row] {
    let readers = machine.processors.count - 1
    var reads = contenders.map { _ in Rounds() }
    var updates = reads
    for _ in 0..<(scale.promisedOnly ? min(scale.rounds, 11) : scale.fewRounds) {
      for (index, contender) in contenders.enumerated() {
        let (read, update) = try round(
          contender, rate: rate, chunk: chunks[index], readers: readers, on: machine, scale)
        reads[index].add(read)
        updates[index].add(update)
      }
    }
    return zip(contenders, zip(reads, updates)).map { contender, rounds in
      let (reads, updates) = rounds
      var row = Row(
        name, contender.name, threads: readers, Row.Parameter("per_s", rate), nanoseconds: reads.best,
        median: reads.median, clock: contender.blocks ? .wall : .thread)
      row.also["updates_per_s"] = updates.median
      return row
    }
  }

  /// Nanoseconds per read, and updates per second.
  func round(
    _ contender: Contender, rate: Double?, chunk: UInt64, readers: Int, on machine: Machine, _ scale: Scale
  ) throws -> (read: Double, updates: Double) {
    let duration: UInt64 = scale.isQuick ? 20_000_000 : 100_000_000
    let finished = Counter()
    let now = contender.blocks ? peer_wall_nanoseconds : peer_thread_nanoseconds
    // The writer is thread 0 on the first processor; the readers have the others.
    let threads = PinnedThreads(processors: machine.processors)
    let results = try threads.run(readers + 1) { index, start -> Double? in
      contender.begin()
      defer { contender.end() }
      if index == 0 {
        contender.rest()
        start.wait()
        contender.wake()
        let before = peer_wall_nanoseconds()
        let updates = write(contender, rate: rate, since: before) { finished.value == readers }
        return Double(updates) / Double(peer_wall_nanoseconds() - before) * 1e9
      }
      contender.rest()
      start.wait()
      contender.wake()
      var isRight = true
      var count: UInt64 = 0
      func read(for time: UInt64) {
        let end = peer_wall_nanoseconds() + time
        while peer_wall_nanoseconds() < end {
          isRight = contender.read(0, chunk) == chunk * contender.number && isRight
          count += chunk
        }
      }
      read(for: duration / 8)
      count = 0
      let before = now()
      read(for: duration)
      let after = now()
      let figure = Double(after - before) / Double(count)
      finished.add()
      while finished.value < readers { read(for: duration / 64) }
      return isRight ? figure : nil
    }
    contender.drain()
    let right = results.compactMap { $0 }
    if right.count < results.count {
      throw MeasurementError("update: the sum of \(contender.name) is wrong: it read what was freed.")
    }
    return (right.dropFirst().reduce(0, +) / Double(readers), right[0])
  }
}

/// Updates at the given rate until all readers have finished. Returns the number of updates.
private func write(
  _ contender: Contender, rate: Double?, since start: UInt64, until isOver: () -> Bool
) -> UInt64 {
  var count: UInt64 = 0
  guard let update = contender.update else { return 0 }
  while !isOver() {
    // A late writer catches up.
    if let rate, Double(count) >= rate * Double(peer_wall_nanoseconds() - start) / 1e9 { continue }
    update()
    count += 1
  }
  return count
}
