import CPeers

/// The cost of protection for longer sections. A lock that is too expensive for a short section may
/// be good enough for a long one; a lock that excludes readers from each other never is.
struct SectionExperiment: Experiment {
  let name = ExperimentName.section

  let notes = [
    "One reader on each processor. `steps` is the amount of work in the section, about a cycle per step.",
    "`over_ns` is the time of a section beyond the same work without protection.",
    "Processor time, or wall-clock time for readers that may sleep. Sums are checked.",
  ]

  func skipped(on machine: Machine) -> [String] { Contender.missingPeers }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    let timer = ReaderTimer(name, on: machine)
    let readers = machine.processors.count
    let contenders = (Contender.boxes() + Contender.swift() + Contender.peers()).filter {
      $0.work != nil && !$0.name.hasSuffix("called")
    }
    var rows: [Row] = []
    for length: UInt64 in scale.isQuick ? [0, 100, 10_000] : [0, 10, 100, 1000, 10_000] {
      var rounds = contenders.map { _ in Rounds() }
      let sizes = try contenders.map { contender in
        try timer.size(contender, nanoseconds: scale.isQuick ? 1e6 : 5e6, readers: readers) { count in
          contender.work?(length, count) ?? 0
        }
      }
      for _ in 0..<(scale.isQuick ? 2 : 11) {
        for (index, contender) in contenders.enumerated() {
          rounds[index].add(
            try timer.time(contender, sizes[index], readers: readers) { contender.work?(length, $0) ?? 0 })
        }
      }
      let some = zip(contenders, rounds).map { contender, rounds in
        Row(
          name, contender.name, threads: readers, Row.Parameter("steps", Double(length)),
          nanoseconds: rounds.best, median: rounds.median, clock: contender.blocks ? .wall : .thread)
      }
      let floor = some.first { $0.contender == "plain load, C" }?.nanoseconds ?? .nan
      rows += some.map { row in
        var row = row
        row.also["over_ns"] = row.nanoseconds - floor
        return row
      }
    }
    return rows.besideC(
      Dictionary(uniqueKeysWithValues: contenders.map { ($0.name, Contender.ownInC($0.name)) }))
  }
}
