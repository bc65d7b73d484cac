import CPeers

/// Lookups at random keys in tables of two sizes, while the same threads replace values.
struct DictionaryExperiment: Experiment {
  let name = ExperimentName.dictionary
  let hasPromises = true

  let notes = [
    "Threads look up random keys; a part of the operations replaces the value of a random key. Wall-clock time per",
    "operation of each thread. `FastHashed` keys have the hash that the peers use; plain keys have the standard",
    "library's seeded hash. `Dictionary, unsynchronized` is a table that no thread changes. `absent keys`: lookups",
    "that find nothing. `resizes`: processor time of a lookup while another thread inserts 15 times as many entries",
    "and removes them, in a table that grows and shrinks, beside one that has the room.",
  ]

  func skipped(on machine: Machine) -> [String] {
    var sentences: [String] = []
    if let missing = peer_table_ck.missing { sentences.append("ck_ht, C: \(String(cString: missing))") }
    if machine.processors.count == 1 { sentences.append("resizes, since there is one processor only.") }
    return sentences
  }

  /// What the threads do.
  private struct Shape {
    let entries: UInt64
    /// How many operations in a hundred are writes.
    var percent: UInt64 = 0
    /// Whether lookups are of keys that are not there.
    var isAbsent = false

    /// After the names of contenders.
    var words: String { isAbsent ? ", absent keys" : percent == 0 ? "" : ", \(percent) % writes" }
  }

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    var rows: [Row] = []
    for entries: UInt64 in [1000, scale.isQuick ? 100_000 : 1_000_000] {
      for tables in [
        SharedCollection.tables(promisedOnly: scale.promisedOnly),
        SharedCollection.stringTables(entries, promisedOnly: scale.promisedOnly),
      ] {
        for table in tables { try table.prepare(entries, on: machine) }
        for percent: UInt64 in [0, 1, 10] {
          for threads in machine.threadCounts {
            rows += try measure(tables, Shape(entries: entries, percent: percent), threads, machine, scale)
          }
        }
        rows += try measure(tables, Shape(entries: entries, isAbsent: true), 1, machine, scale)
        for table in tables { try table.forget(on: machine) }
      }
    }
    for entries: UInt64 in [1000, scale.isQuick ? 5000 : 100_000] {
      rows += try ResizeMeasurement(experiment: name).rows(entries, on: machine, scale)
    }
    return rows
  }

  private func measure(
    _ tables: [SharedCollection], _ shape: Shape, _ threads: Int, _ machine: Machine, _ scale: Scale
  ) throws -> [Row] {
    let tables = tables.filter { shape.percent == 0 || $0.canChange }
    let count: UInt64 = scale.isQuick ? 20_000 : 200_000
    var rounds = [Rounds](repeating: Rounds(), count: tables.count)
    for _ in 0..<(threads <= 2 ? max(scale.fewRounds, min(scale.rounds, 11)) : scale.fewRounds) {
      for (index, table) in tables.enumerated() {
        // A table that a writer copies as a whole takes a thousand times as long.
        let count =
          shape.percent > 0 && table.isCopied ? max(200, count * 1000 / shape.entries / 50) : count
        let operations = peer_operations(
          entries: shape.entries, count: count, percent: shape.percent,
          first: shape.isAbsent ? shape.entries : 0)
        rounds[index].add(
          try table.time(operations, threads, machine) { own in
            shape.isAbsent
              ? 0
              : own.sum {
                $0 + 1
              } write: { _ in
              }
          })
      }
    }
    let rows = zip(tables, rounds).map { table, rounds in
      Row(
        name, table.name + shape.words, threads: threads, Row.Parameter("entries", Double(shape.entries)),
        nanoseconds: rounds.best, median: rounds.median, clock: .wall)
    }
    return judged(rows, shape, threads)
  }

  /// One row for each ratio that is promised.
  private func judged(_ rows: [Row], _ shape: Shape, _ threads: Int) -> [Row] {
    func row(_ name: String) -> Row? { rows.first { $0.contender == name + shape.words } }
    return rows.flatMap { row -> [Row] in
      guard row.contender.hasPrefix("RCUDictionary") else { return [row] }
      var judged: [Row] = []
      let isFast = row.contender == SharedCollection.fastTable + shape.words
      if let c = rows.first(where: { $0.contender == "cds_lfht, C" + shape.words }) {
        let limit = shape.entries == 1000 ? 0.8 : 0.4
        judged.append(row.besideC(c, wanted: isFast && shape.percent == 0 ? limit : nil))
      }
      if shape.percent == 0, threads == 1,
        let plain = rows.first(where: { $0.contender == unsynchronized(row.contender) })
      {
        judged.append(row.compared(to: plain, as: plain.contender, wanted: wanted(row.contender)))
      }
      if isFast, shape.percent == 1, threads == 2,
        let mutex = rows.first(where: { $0.contender == SharedCollection.lockedDictionary + shape.words })
      {
        judged.append(row.compared(to: mutex, as: mutex.contender, wanted: 1.0 / 8))
      }
      return judged.isEmpty ? [row] : judged
    }
  }

  /// The table of the same keys that no thread changes.
  private func unsynchronized(_ name: String) -> String {
    let (kind, words) = name.splitAtComma
    return kind.replacing("RCUDictionary", with: "Dictionary") + ", unsynchronized" + words
  }

  /// Promised for integer keys.
  private func wanted(_ contender: String) -> Double? { contender.contains("String") ? nil : 1.1 }
}

extension String {
  /// What is before the first comma, and the rest.
  fileprivate var splitAtComma: (String, String) {
    guard let comma = firstIndex(of: ",") else { return (self, "") }
    return (String(self[..<comma]), String(self[comma...]))
  }
}
