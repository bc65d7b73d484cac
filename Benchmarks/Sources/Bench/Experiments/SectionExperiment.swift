import CPeers

/// What protection costs when sections are longer: a lock that is dear for a short section may do for a long one, and
/// one that keeps readers apart never does.
struct SectionExperiment: Experiment {
  let name = ExperimentName.section

  let notes = [
    "One reader on each processor. `steps` is the length of the section's work, about a cycle each.",
    "`over_ns` is what a section takes beyond the same work without protection.",
    "Processor time, or the clock on the wall for readers that may sleep. Sums are checked.",
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
