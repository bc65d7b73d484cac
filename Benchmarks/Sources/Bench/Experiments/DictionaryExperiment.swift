import CPeers
import Quiescence
import QuiescentCollections
import Synchronization

/// Lookups at random keys in tables of two sizes, while the same threads replace values.
struct DictionaryExperiment: Experiment {
  let name = ExperimentName.dictionary
  let hasPromises = true

  let notes = [
    "Threads look up random keys; a part of the operations replaces the value of a random key. Wall-clock time per",
    "operation of each thread. `FastHashed` keys have the hash that the peers use; plain keys have the standard",
    "library's seeded hash. `Dictionary, unsynchronized` is a table that no thread changes.",
  ]

  /// Entries, and how many operations in a hundred are writes.
  private struct Shape {
    let entries: UInt64
    let percent: UInt64

    /// After the names of contenders.
    var words: String { percent == 0 ? "" : ", \(percent) % writes" }
  }

  func measure(on machine: Machine, _ scale: Scale) async throws -> [Row] {
    var rows: [Row] = []
    for entries: UInt64 in [1000, scale.isQuick ? 100_000 : 1_000_000] {
      let tables = Self.tables(scale.promisedOnly)
      for table in tables { try table.prepare(entries, on: machine) }
      for percent: UInt64 in [0, 1, 10] {
        for threads in machine.threadCounts {
          rows += try measure(tables, Shape(entries: entries, percent: percent), threads, machine, scale)
        }
      }
      for table in tables { try table.forget(on: machine) }
    }
    return rows
  }

  private func measure(
    _ tables: [Table], _ shape: Shape, _ threads: Int, _ machine: Machine, _ scale: Scale
  ) throws -> [Row] {
    let tables = tables.filter { shape.percent == 0 || $0.canChange }
    let count: UInt64 = scale.isQuick ? 20_000 : 200_000
    var rounds = [Rounds](repeating: Rounds(), count: tables.count)
    for _ in 0..<scale.fewRounds {
      for (index, table) in tables.enumerated() {
        // A table that a writer copies as a whole takes a thousand times as long.
        let count = shape.percent > 0 && table.isCopied ? max(200, count * 1000 / shape.entries / 50) : count
        rounds[index].add(try table.time(shape.entries, shape.percent, count, threads, machine))
      }
    }
    let rows = zip(tables, rounds).map { table, rounds in
      Row(
        name, table.name + shape.words, threads: threads, Row.Parameter("entries", Double(shape.entries)),
        nanoseconds: rounds.best, median: rounds.median, clock: .wall)
    }
    return judged(rows, shape, threads)
  }

  private func judged(_ rows: [Row], _ shape: Shape, _ threads: Int) -> [Row] {
    func row(_ name: String) -> Row? { rows.first { $0.contender == name + shape.words } }
    guard let c = row("cds_lfht, C") else { return rows }
    let peer = row
    return rows.flatMap { row -> [Row] in
      guard row.contender.hasPrefix("RCUDictionary") else { return [row] }
      guard row.contender == Self.fast + shape.words else { return [row.besideC(c)] }
      let limit = shape.entries == 1000 ? 0.8 : 0.4
      var judged = [row.besideC(c, wanted: shape.percent == 0 ? limit : nil)]
      if shape.percent == 0, threads == 1, let plain = peer("Dictionary of FastHashed, unsynchronized") {
        judged.append(row.compared(to: plain, as: plain.contender, wanted: 1.1))
      }
      if shape.percent == 1, threads == 2, let mutex = peer("Mutex<Dictionary>") {
        judged.append(row.compared(to: mutex, as: mutex.contender, wanted: 1.0 / 8))
      }
      return judged
    }
  }

  private static let fast = "RCUDictionary of FastHashed"

  private static func tables(_ promisedOnly: Bool) -> [Table] {
    let promised = [
      Table(peer_table_lfht),
      Table(
        fast,
        make: { entries in
          let table = RCUDictionary<FastHashed<UInt64>, UInt64, Memb>(minimumCapacity: Int(entries))
          for index in 0..<entries { table[FastHashed(peer_table_key(index))] = index + 1 }
          return SharedTable(table)
        },
        run: { (table: SharedTable<RCUDictionary<FastHashed<UInt64>, UInt64, Memb>>, operations) in
          operations.sum {
            table.value.read(FastHashed($0)) { $0 } ?? 0
          } write: {
            _ = table.value.updateValue($1, forKey: FastHashed($0))
          }
        }),
      Table(
        "Dictionary of FastHashed, unsynchronized", canChange: false,
        make: { entries in
          var table: [FastHashed<UInt64>: UInt64] = [:]
          for index in 0..<entries { table[FastHashed(peer_table_key(index))] = index + 1 }
          return SharedTable(table)
        },
        run: { (table: SharedTable<[FastHashed<UInt64>: UInt64]>, operations) in
          operations.sum {
            table.value[FastHashed($0)] ?? 0
          } write: { _, _ in
          }
        }),
      Table(
        "Mutex<Dictionary>",
        make: { SharedTable(Mutex(dictionary($0))) },
        run: { (table: SharedTable<Mutex<[UInt64: UInt64]>>, operations) in
          operations.sum { key in
            table.value.withLock { $0[key] ?? 0 }
          } write: { key, value in
            table.value.withLock { $0[key] = value }
          }
        }),
    ]
    if promisedOnly { return promised }
    return promised + [
      Table(
        "RCUDictionary",
        make: { entries in
          let table = RCUDictionary<UInt64, UInt64, Memb>(minimumCapacity: Int(entries))
          for index in 0..<entries { table[peer_table_key(index)] = index + 1 }
          return SharedTable(table)
        },
        run: { (table: SharedTable<RCUDictionary<UInt64, UInt64, Memb>>, operations) in
          operations.sum {
            table.value.read($0) { $0 } ?? 0
          } write: {
            _ = table.value.updateValue($1, forKey: $0)
          }
        }),
      Table(
        "Dictionary, unsynchronized", canChange: false,
        make: { SharedTable(dictionary($0)) },
        run: { (table: SharedTable<[UInt64: UInt64]>, operations) in
          operations.sum {
            table.value[$0] ?? 0
          } write: { _, _ in
          }
        }),
      Table(
        "RCUBox<Dictionary>", isCopied: true,
        make: { SharedTable(RCUBox(dictionary($0))) },
        run: { (table: SharedTable<RCUBox<[UInt64: UInt64], Memb>>, operations) in
          operations.sum { key in
            table.value.read { $0[key] ?? 0 }
          } write: { key, value in
            table.value.update { $0[key] = value }
          }
        }),
      Table(peer_table_shared_mutex),
    ]
  }

  private static func dictionary(_ entries: UInt64) -> [UInt64: UInt64] {
    Dictionary(uniqueKeysWithValues: (0..<entries).map { (peer_table_key($0), $0 + 1) })
  }
}

/// What one thread does in one round.
private struct Operations {
  let seed: UInt64
  let entries: UInt64
  let count: UInt64
  /// Each so-many-th operation is a write; 0: none.
  let writeEvery: UInt64

  /// The sum of what `read` finds. The loop is inlined with both closures.
  @inline(__always)
  func sum(_ read: (UInt64) -> UInt64, write: (_ key: UInt64, _ value: UInt64) -> Void) -> UInt64 {
    var state = seed, sum: UInt64 = 0, left = writeEvery
    for _ in 0..<count {
      let index = peer_table_next(&state, entries), key = peer_table_key(index)
      if writeEvery != 0 {
        left -= 1
        if left == 0 {
          left = writeEvery
          write(key, index + 1)
          continue
        }
      }
      sum &+= read(key)
    }
    return sum
  }
}

private final class SharedTable<Value: ~Copyable & Sendable>: Sendable {
  let value: Value
  init(_ value: consuming Value) { self.value = value }
}

/// A contender.
private final class Table {
  let name: String
  let canChange: Bool
  let isCopied: Bool
  private let make: @Sendable (UInt64) -> any Sendable
  private let run: @Sendable (any Sendable, Operations) -> UInt64
  private let destroy: @Sendable (any Sendable) -> Void
  private var table: (any Sendable)?

  init<Made: AnyObject & Sendable>(
    _ name: String, canChange: Bool = true, isCopied: Bool = false,
    make: @escaping @Sendable (UInt64) -> Made, run: @escaping @Sendable (Made, Operations) -> UInt64
  ) {
    self.name = name
    self.canChange = canChange
    self.isCopied = isCopied
    self.make = make
    // Made by `make`.
    self.run = { run(unsafeDowncast($0 as AnyObject, to: Made.self), $1) }
    destroy = { _ in }
  }

  init(_ peer: peer_table) {
    // Unsafe: a constant of the peers, with functions in it.
    nonisolated(unsafe) let peer = peer
    name = String(cString: peer.name)
    canChange = true
    isCopied = false
    make = { Address(peer.make($0)) }
    run = { table, operations in
      peer.run(
        Self.address(table), operations.seed, operations.entries, operations.count, operations.writeEvery)
    }
    destroy = { peer.destroy(Self.address($0)) }
  }

  private struct Address: @unchecked Sendable {
    // Unchecked: the peers' tables are made for several threads.
    let pointer: UnsafeMutableRawPointer?
    init(_ pointer: UnsafeMutableRawPointer?) { self.pointer = pointer }
  }

  private static func address(_ table: any Sendable) -> UnsafeMutableRawPointer? {
    (table as? Address)?.pointer
  }

  /// On a thread of its own: the peers register and unregister the thread with liburcu.
  func prepare(_ entries: UInt64, on machine: Machine) throws {
    let pinned = PinnedThreads(processors: machine.processors)
    let tables: [any Sendable] = try pinned.run(1) { [make] _, _ in make(entries) }
    table = tables[0]
  }

  func forget(on machine: Machine) throws {
    guard let table else { return }
    self.table = nil
    _ = try PinnedThreads(processors: machine.processors).run(1) { [destroy] _, _ in destroy(table) }
  }

  /// Nanoseconds per operation; not a number when a thread has found a wrong value.
  func time(
    _ entries: UInt64, _ percent: UInt64, _ count: UInt64, _ threads: Int, _ machine: Machine
  ) throws -> Double {
    guard let table else { return .nan }
    let writeEvery = percent == 0 ? 0 : 100 / percent
    let times = try PinnedThreads(processors: machine.processors).run(threads) { [run] index, start in
      let operations = Operations(
        seed: 0x9E37_79B9 + UInt64(index), entries: entries, count: count, writeEvery: writeEvery)
      let expected = operations.sum { key in
        key &* 0xF1DE_83E1_9937_733D &+ 1
      } write: { _, _ in
      }
      start.wait()
      let before = peer_wall_nanoseconds()
      let sum = run(table, operations)
      let after = peer_wall_nanoseconds()
      return sum == expected ? Double(after - before) / Double(count) : .nan
    }
    // Not empty: there is at least one thread.
    return times.contains { $0.isNaN } ? .nan : times.max()!
  }
}
