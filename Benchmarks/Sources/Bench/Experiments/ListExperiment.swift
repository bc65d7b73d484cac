import CPeers
import Quiescence
import QuiescentCollections
import Synchronization

/// Going through lists while the same threads change them.
struct ListExperiment: Experiment {
  let name = ExperimentName.list
  let hasPromises = true

  let notes = [
    "Threads go through a list and add its numbers up; a part of the operations puts an element at the beginning and",
    "takes one out. Wall-clock time for each element that an iteration sees; an iteration is one section.",
  ]

  /// The largest allowed ratio to liburcu's list, without writes.
  private let wanted = 1.1

  func measure(on machine: Machine, _ scale: Scale) throws -> [Row] {
    var rows: [Row] = []
    for entries: UInt64 in [10, 1000] {
      let lists = Self.lists.filter { !scale.promisedOnly || $0.name == Self.ours || $0.name == Self.peer }
      for list in lists { try list.prepare(entries, on: machine) }
      for percent: UInt64 in scale.promisedOnly ? [0] : [0, 1, 10] {
        for threads in machine.threadCounts {
          rows += try measure(lists, entries, percent, threads, machine, scale)
        }
      }
      for list in lists { try list.forget(on: machine) }
    }
    return rows
  }

  private func measure(
    _ lists: [SharedCollection], _ entries: UInt64, _ percent: UInt64, _ threads: Int, _ machine: Machine,
    _ scale: Scale
  ) throws -> [Row] {
    let count = max(100, (scale.isQuick ? 50_000 : 2_000_000) / entries)
    var rounds = [Rounds](repeating: Rounds(), count: lists.count)
    for _ in 0..<max(scale.fewRounds, min(scale.rounds, 11)) {
      for (index, list) in lists.enumerated() {
        let operations = peer_operations(entries: entries, count: count, percent: percent)
        let time = try list.time(operations, threads, machine) { $0.reads * (entries * (entries + 1) / 2) }
        rounds[index].add(time / Double(entries))
      }
    }
    let words = percent == 0 ? "" : ", \(percent) % writes"
    let rows = zip(lists, rounds).map { list, rounds in
      Row(
        name, list.name + words, threads: threads, Row.Parameter("entries", Double(entries)),
        nanoseconds: rounds.best, median: rounds.median, clock: .wall)
    }
    let peers = Dictionary(uniqueKeysWithValues: rows.map { ($0.contender, Self.peer + words) })
    return rows.besideC(peers, wanted: percent == 0 && threads == 1 ? [Self.ours: wanted] : [:])
  }

  private static let ours = "RCUList"
  private static let peer = "rculist, C"

  private static var lists: [SharedCollection] {
    [
      SharedCollection(
        ours,
        make: { entries in
          let list = RCUList<UInt64, Memb>()
          for number in 1...entries { list.append(number) }
          return SharedValue(list)
        },
        run: { (list: SharedValue<RCUList<UInt64, Memb>>, operations) in
          operations.sum { _ in
            var sum: UInt64 = 0
            list.value.forEach { sum &+= $0 }
            return sum
          } write: { _ in
            list.value.prepend(0)
            Memb.read { section in
              // One of those at the beginning, which another thread may take first.
              var entries = list.value.entries(section)
              while let entry = entries.next() {
                if entry.value == 0, list.value.remove(entry) { return }
              }
            }
          }
        }),
      SharedCollection(
        "RCUBox<Array>", isCopied: true,
        make: { SharedValue(RCUBox(Array(1...$0))) },
        run: { (list: SharedValue<RCUBox<[UInt64], Memb>>, operations) in
          operations.sum { _ in
            list.value.read { $0.reduce(0, &+) }
          } write: { _ in
            list.value.update { $0.insert(0, at: 0) }
            list.value.update { $0.removeFirst() }
          }
        }),
      SharedCollection(
        "Mutex<Array>",
        make: { SharedValue(Mutex(Array(1...$0))) },
        run: { (list: SharedValue<Mutex<[UInt64]>>, operations) in
          operations.sum { _ in
            list.value.withLock { $0.reduce(0, &+) }
          } write: { _ in
            list.value.withLock { $0.insert(0, at: 0) }
            list.value.withLock { _ = $0.removeFirst() }
          }
        }),
    ] + SharedCollection.peers(peer_list_rcu, peer_list_shared_mutex)
  }
}
