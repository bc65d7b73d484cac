import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// Contracts A and H of `RCUDictionary`: what waits for what.
@Suite(.exclusive) struct DictionaryWaitingTests {
  typealias Table = RCUDictionary<Int, Int, Memb>
  typealias Use = @Sendable (borrowing Table) -> Void

  private static func makeTable() -> Shared<Table> {
    let table = Shared(Table())
    for key in 0..<100 { table.value[key] = key }
    return table
  }

  /// Whether `use` waits while another thread has every lock of the table, as in a resize.
  static func waitsForWriters(_ use: @escaping Use) async -> Bool {
    let table = makeTable()
    return await isHeldUp { whileHeld in
      table.value.stripes.takeAll()
      whileHeld()
      table.value.stripes.giveAll()
    } _: {
      use(table.value)
    }
  }

  @Test func lookupsAndIterationsTakeNoLock() async {
    let isHeldUp = await Self.waitsForWriters { table in
      check(table[1] == 1 && table.contains(2) && !table.contains(1000))
      check(table.read(3) { $0 } == 3)
      var count = 0
      table.forEach { _, _ in count += 1 }
      check(count == 100 && table.count == 100 && table.snapshot().count == 100)
      Memb.read { section in check(table.load(4, section)?.value == 4) }
    }
    #expect(!isHeldUp)
  }

  @Test func lookupUnderALockIsCaught() async {
    #expect(await Self.waitsForWriters { check($0.containsUnderLock(1)) })
  }

  @Test func iterationUnderLocksIsCaught() async {
    #expect(await Self.waitsForWriters { check($0.countUnderLocks() == 100) })
  }

  /// Whether `use` waits while another thread is in the middle of an update of key 1. `use` gets a
  /// key with another lock.
  static func waitsForOtherKeys(_ use: @escaping @Sendable (borrowing Table, Int) -> Void) async -> Bool {
    let table = makeTable()
    func stripe(_ key: Int) -> Int { Stripes.index(of: table.value.hash(of: key)) }
    // 15 of 16 keys have another lock.
    let other = (2...).first { stripe($0) != stripe(1) } ?? 2
    return await isHeldUp { whileHeld in
      table.value.update(1) { _ in whileHeld() }
    } _: {
      use(table.value, other)
    }
  }

  @Test func writersOfDifferentKeysDoNotWait() async {
    let isHeldUp = await Self.waitsForOtherKeys { table, key in
      table[key] = 5
      table.update(key) { $0 += 1 }
      check(table.removeValue(forKey: key) == 6)
    }
    #expect(!isHeldUp)
  }

  @Test func writeUnderAllLocksIsCaught() async {
    #expect(await Self.waitsForOtherKeys { $0.updateValueUnderAllLocks(5, forKey: $1) })
  }

  /// Whether `use` waits while another thread is in a section.
  static func waitsForReaders(_ use: @escaping Use) async -> Bool {
    let table = makeTable()
    return await isHeldUp { whileHeld in
      Memb.read { section in
        let seen = table.value.load(1, section)
        whileHeld()
        check(seen?.value == 1)
      }
    } _: {
      use(table.value)
    }
  }

  @Test func writersDoNotWaitForReaders() async {
    let isHeldUp = await Self.waitsForReaders { table in
      for key in 0..<2000 { table[key] = 5 }
      for key in 0..<2000 { table.removeValue(forKey: key) }
      table.reserveCapacity(5000)
      table.removeAll()
    }
    #expect(!isHeldUp)
  }

  @Test func writeThatWaitsForAGracePeriodIsCaught() async {
    let isHeldUp = await Self.waitsForReaders { table in
      table[1] = 5
      Memb.synchronize()
    }
    #expect(isHeldUp)
  }
}
