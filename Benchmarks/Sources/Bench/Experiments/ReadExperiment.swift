import CPeers

/// The cost of a protected read: a load of the published pointer, a load of a number behind it, and
/// the section.
struct ReadExperiment: Experiment {
  let name = ExperimentName.read
  let retainsOnPurpose: Bool
  let hasPromises = true

  let notes = [
    "Processor time of the thread a read, so that more busy threads than processors count only their own;",
    "wall-clock time for readers that may sleep. `to C` is the ratio to the equivalent in C.",
    "Each loop adds up what it has read, and the sum is checked. The floor is the loop without a load.",
    "Each loop exists at \(PEER_PLACES) places in a cache line, in every language; the best place counts.",
  ]

  /// The largest allowed ratio to the equivalent in C.
  private let wanted = [
    "RCUBox.load, QSBR": 1.05, "RCUBox.read, QSBR": 1.05, "RCUBox.read, Memb": 1.05,
    "RCUBox.read, Bulletproof": 1.02,
  ]

  /// The largest allowed ratio to one thread, for each number of threads in `Machine.threadCounts`.
  private let wantedOfCrowd = 1.05

  func skipped(on machine: Machine) -> [String] {
    var sentences = Contender.missingPeers
    if machine.processors.count == 1 {
      sentences.append("several readers, since there is one processor only: nothing can contend on it.")
    }
    return sentences
  }

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    let timer = ReaderTimer(name, on: machine)
    let everywhere = Array(0..<Int32(PEER_PLACES))
    let contenders = self.contenders(scale)
    let alone = try measured(contenders.map { ($0, everywhere) }, 1, timer, scale)
    let names = Dictionary(
      uniqueKeysWithValues: alone.map { ($0.contender.name, Contender.inC($0.contender.name)) })
    var rows = alone.map(\.row).besideC(names, wanted: wanted)
    if !scale.promisedOnly { rows.append(try await actorRow(1, on: machine, scale)) }
    for count in counts(machine, scale) {
      // Exactly the same instructions as with one thread.
      let crowd = try measured(alone.map { ($0.contender, [$0.place]) }, count, timer, scale)
      let compared = zip(crowd, alone).map { crowd, alone in
        // Some contenders contend by design; the promised ones must not.
        let name = crowd.contender.name
        guard wanted[name] != nil || name == "memb, C inlined" || name == "Memb.read and RCUBox.load" else {
          return crowd.row
        }
        let isPromised = wanted[name] != nil && count == machine.threadCounts.last
        let limit = isPromised ? wantedOfCrowd : nil
        return crowd.row.compared(to: alone.row, as: "1 thread", wanted: limit)
      }
      rows += compared.besideC(names)
      if !scale.promisedOnly { rows.append(try await actorRow(count, on: machine, scale)) }
    }
    return rows
  }

  private func counts(_ machine: Machine, _ scale: Scale) -> [Int] {
    if machine.processors.count == 1 { return [] }
    return machine.threadCounts.dropFirst().filter {
      !(scale.isQuick || scale.promisedOnly) || $0 == machine.threadCounts.last
    }
  }

  private func contenders(_ scale: Scale) -> [Contender] {
    let boxes = Contender.boxes(retainOnPurpose: retainsOnPurpose)
    let all = Contender.floors() + boxes + Contender.swift() + Contender.peers()
    if !scale.promisedOnly { return all }
    let needed = Set(wanted.keys).union(wanted.keys.map(Contender.inC))
    return all.filter { needed.contains($0.name) || $0.number == 1 }
  }

  private struct Measured {
    let contender: Contender
    /// The place where its loop was fastest.
    let place: Int32
    let row: Row
  }

  private func measured(
    _ contenders: [(Contender, places: [Int32])], _ count: Int, _ timer: ReaderTimer, _ scale: Scale
  ) throws -> [Measured] {
    let nanoseconds = scale.isQuick ? 1e6 : 5e6
    var rounds = contenders.map { _, places in places.map { _ in Rounds() } }
    let sizes = try contenders.map { contender, places in
      try timer.size(contender, nanoseconds: nanoseconds, readers: 1) { contender.read(places[0], $0) }
    }
    for _ in 0..<scale.rounds {
      for (index, (contender, places)) in contenders.enumerated() {
        // A contended lock takes ten times as long, and shows that in fewer reads.
        let size = contender.blocks && count > 1 ? max(64, sizes[index] / 8) : sizes[index]
        for (number, place) in places.enumerated() {
          rounds[index][number].add(
            try timer.time(contender, size, readers: count) { contender.read(place, $0) })
        }
      }
    }
    return zip(contenders, rounds).map { contender, rounds in
      // Not empty: there are several places.
      let best = rounds.indices.min { rounds[$0].isFaster(than: rounds[$1]) }!
      let row = Row(
        name, contender.0.name, threads: count, nanoseconds: rounds[best].best, median: rounds[best].median,
        clock: contender.0.blocks ? .wall : .thread)
      return Measured(contender: contender.0, place: contender.places[best], row: row)
    }
  }

  /// An actor's clients are tasks, which are not pinned to processors.
  private func actorRow(_ count: Int, on machine: Machine, _ scale: Scale) async throws -> Row {
    let reads: UInt64 = scale.isQuick ? 2000 : 20_000
    let actor = ActorContender()
    var rounds = Rounds()
    for _ in 0..<scale.fewRounds {
      let before = peer_wall_nanoseconds()
      let sum = await withTaskGroup(of: UInt64.self) { group in
        for _ in 0..<count {
          group.addTask {
            var sum: UInt64 = 0
            for _ in 0..<reads { sum &+= await actor.read() }
            return sum
          }
        }
        return await group.reduce(0, &+)
      }
      let elapsed = Double(peer_wall_nanoseconds() - before)
      if sum != reads * UInt64(count) * publishedNumber {
        throw MeasurementError("read: the sum of \(ActorContender.name) is wrong.")
      }
      rounds.add(elapsed * Double(min(count, machine.processors.count)) / Double(reads) / Double(count))
    }
    return Row(
      name, ActorContender.name, threads: count, nanoseconds: rounds.best, median: rounds.median, clock: .wall
    )
  }
}
