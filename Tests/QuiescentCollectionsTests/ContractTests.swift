import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import QuiescentCollections

/// The contracts at the top of `RCUDictionary.swift`. Each check runs on the table, where it holds,
/// and on a variant with one rule broken, where it must fail: a check that passes there proves
/// nothing.
@Suite(.exclusive) struct DictionaryContractTests {
  typealias Table = RCUDictionary<FastHashed<Int>, Int, Memb>

  /// What a check needs of a table, and where the variants differ.
  struct Variant: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Replaces the value of a key that is there.
    var replace: @Sendable (borrowing Table, Int, Int) -> Void = { table, key, value in
      table.updateValue(value, forKey: FastHashed(key))
    }
    /// Inserts unless there is a value.
    var insert: @Sendable (borrowing Table, Int, Int) -> Bool = { table, key, value in
      table.insert(value, forKey: FastHashed(key)).inserted
    }
    var remove: @Sendable (borrowing Table, Int) -> Bool = { table, key in
      table.removeValue(forKey: FastHashed(key)) != nil
    }
    /// Doubles the directory.
    var grow: @Sendable (borrowing Table) -> Void = { $0.growForTest() }
    /// The keys that an iteration sees; calls the closure in the middle.
    var keys: @Sendable (borrowing Table, () -> Void) -> [Int] = { table, middle in
      var keys: [Int] = []
      let half = table.count / 2
      table.forEach { key, _ in
        keys.append(key.base)
        if keys.count == half { middle() }
      }
      return keys
    }
  }

  static let real = Variant(testDescription: "the table")

  // MARK: - B, C

  static func insertionsOfOneKey(_ variant: Variant) async -> (inserted: Int, removed: Int, rounds: Int) {
    let rounds = 4000
    let table = Shared(Table())
    let inserted = Counter(), removed = Counter()
    let turns = (Counter(), Counter())
    await onThreads(2) { index in
      Affinity.keep(index)
      for round in 0..<rounds {
        turns.0.add(1)
        while turns.0.value < 2 * round + 2 { letOthersRun() }
        if variant.insert(table.value, 1, index) { inserted.add(1) }
        turns.1.add(1)
        while turns.1.value < 2 * round + 2 { letOthersRun() }
        if variant.remove(table.value, 1) { removed.add(1) }
      }
    }
    return (inserted.value, removed.value, rounds)
  }

  @Test func oneThreadInsertsAndOneRemoves() async {
    let result = await Self.insertionsOfOneKey(Self.real)
    #expect(result.inserted == result.rounds)
    #expect(result.removed == result.rounds)
  }

  /// A look and then an insertion: both threads may find nothing.
  @Test func insertionAfterASeparateLookupIsCaught() async {
    var broken = Self.real
    broken.insert = { table, key, value in
      let isNew = !table.contains(FastHashed(key))
      letOthersRun()
      if isNew { table[FastHashed(key)] = value }
      return isNew
    }
    #expect(await Self.insertionsOfOneKey(broken).inserted > 4000)
  }

  /// A look and then a removal.
  @Test func removalAfterASeparateLookupIsCaught() async {
    var broken = Self.real
    broken.remove = { table, key in
      let isThere = table.contains(FastHashed(key))
      letOthersRun()
      table[FastHashed(key)] = nil
      return isThere
    }
    #expect(await Self.insertionsOfOneKey(broken).removed > 4000)
  }

  // MARK: - D

  /// How many lookups did not find a key that is always there, while it is replaced and the
  /// directory grows.
  static func gaps(_ variant: Variant, until isEnough: @escaping @Sendable (Int) -> Bool = { _ in false })
    async -> Int
  {
    let missing = Counter()
    let isOver = Counter()
    let table = Shared(Table())
    for key in 0..<8 { table.value[FastHashed(key)] = 0 }
    await onThreads(2) { index in
      Affinity.keep(index)
      if index == 0 {
        var rounds = 0
        while rounds < 300 && !isEnough(missing.value) {
          rounds += 1
          for value in 0..<200 { variant.replace(table.value, value % 8, value) }
          variant.grow(table.value)
          if rounds % 8 == 0 { table.value.shrinkForTest() }
        }
        isOver.add(1)
      } else {
        while isOver.value == 0 {
          for key in 0..<8 where !table.value.contains(FastHashed(key)) { missing.add(1) }
        }
      }
    }
    return missing.value
  }

  @Test func replacementDuringAResizeLeavesNoGap() async { #expect(await Self.gaps(Self.real) == 0) }

  @Test func replacementByRemovalAndInsertionIsCaught() async {
    var broken = Self.real
    broken.replace = { table, key, value in
      table.removeValue(forKey: FastHashed(key))
      table[FastHashed(key)] = value
    }
    #expect(await Self.gaps(broken) { $0 > 0 } > 0)
  }

  @Test func directoryPublishedBeforeItIsFilledIsCaught() async {
    var broken = Self.real
    broken.grow = { $0.growTooEarly() }
    #expect(await Self.gaps(broken) { $0 > 0 } > 0)
  }

  // MARK: - E, F

  /// What a section found, after other threads have replaced or removed it.
  @Test func foundValuesStayUntilTheSectionEnds() async {
    let alive = Counter()
    let table = Shared(RCUDictionary<Int, Tracked, Memb>())
    for key in 0..<100 { table.value[key] = Tracked(key, alive: alive) }
    let isReplaced = Parker(), isHeld = Parker()
    await onThreads(2) { index in
      if index == 0 {
        Memb.read { section in
          guard let first = table.value.load(1, section), let second = table.value.load(2, section) else {
            return
          }
          isHeld.open()
          isReplaced.wait()
          // 100 new ones in place of removed or replaced ones, which are all here still.
          #expect(alive.value == 199)
          check(first.value.value == 1 && second.value.value == 2)
          // Lookups do not find them any more.
          check(table.value.load(1, section)?.value.value == 1001)
          check(table.value[2] == nil)
        }
      } else {
        isHeld.wait()
        for key in 0..<100 {
          if key == 2 { table.value[2] = nil } else { table.value[key] = Tracked(1000 + key, alive: alive) }
        }
        isReplaced.open()
      }
    }
    await Memb.barrier()
    #expect(alive.value == 99)
  }

  // MARK: - G

  /// The keys of an iteration in whose middle the directory has grown and each of its buckets was
  /// divided.
  static func keysOfAnIteration(_ variant: Variant, dividing: Bool) -> [Int] {
    let table = Table(minimumCapacity: 64)
    for key in 0..<200 { table[FastHashed(key)] = key }
    // Buckets that are in two slots each.
    table.growForTest()
    return variant.keys(table) {
      if dividing { for key in 0..<200 { table.updateValue(key, forKey: FastHashed(key)) } }
      table.growForTest()
      for key in 200..<300 { table[FastHashed(key)] = key }
      for key in 200..<300 { table[FastHashed(key)] = nil }
    }
  }

  @Test(arguments: [false, true]) func iterationSeesEachEntryOnce(_ dividing: Bool) {
    let keys = Self.keysOfAnIteration(Self.real, dividing: dividing)
    #expect(keys.filter { $0 < 200 }.sorted() == Array(0..<200))
  }

  @Test(arguments: [false, true]) func iterationOverWholeBucketsIsCaught(_ dividing: Bool) {
    var broken = Self.real
    broken.keys = { $0.keysWithoutFilter($1) }
    #expect(Self.keysOfAnIteration(broken, dividing: dividing).filter { $0 < 200 }.count > 200)
  }

  /// Buckets of several slots are taken in the first one alone: what is divided meanwhile is seen
  /// again in the other.
  @Test func iterationByFirstSlotsIsCaught() {
    var broken = Self.real
    broken.keys = { $0.keysByFirstSlot($1) }
    #expect(Self.keysOfAnIteration(broken, dividing: true).filter { $0 < 200 }.count > 200)
  }

  @Test func entriesMayBeRemovedWhileIterating() {
    let table = RCUDictionary<Int, Int, Memb>()
    for key in 0..<5000 { table[key] = key }
    Memb.read { section in
      var entries = table.entries(section)
      var seen = 0
      while let entry = entries.next() {
        seen += 1
        #expect(table.removeValue(forKey: entry.key) == entry.key)
        check(entry.value == entry.key)
      }
      #expect(seen == 5000)
    }
    check(table.isEmpty)
  }
}

/// The steps that a resize takes by itself, and broken ones.
extension RCUDictionary {
  borrowing func growForTest() {
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    grow(old, to: old.depth + 1)
    stripes.giveAll()
    retirer.retire(old.base, by: DirectoryReclaimer<Key, Value>.self)
  }

  borrowing func shrinkForTest() {
    while true {
      stripes.takeAll()
      let old = Directory(current.load(ordering: .relaxed))
      let isLarge = old.depth > Stripes.depth
      if isLarge { shrink(old) }
      stripes.giveAll()
      if !isLarge { return }
      retirer.retire(old.base, by: JoinedReclaimer<Key, Value>.self)
    }
  }

  /// As `grow`, with the new directory published first.
  borrowing func growTooEarly() {
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    let new = Directory.make(depth: old.depth + 1)
    current.store(new.base, ordering: .releasing)
    for index in 0..<UInt(new.slotCount) {
      let head = old.head(index & old.mask)
      if head != old.empty { new.slot(index).pointee.store(head.base, ordering: .releasing) }
    }
    stripes.giveAll()
    retirer.retire(old.base, by: DirectoryReclaimer<Key, Value>.self)
  }
}

extension DictionaryContractTests.Table {
  borrowing func keysWithoutFilter(_ middle: () -> Void) -> [Int] {
    keys(middle) { _, _, _ in true }
  }

  borrowing func keysByFirstSlot(_ middle: () -> Void) -> [Int] {
    keys(middle) { _, bucket, slot in slot >> UInt(bucket.depth) == 0 }
  }

  private borrowing func keys(
    _ middle: () -> Void, where isTaken: (Directory, Bucket, UInt) -> Bool
  ) -> [Int] {
    var keys: [Int] = []
    let half = count / 2
    Memb.read { _ in
      let directory = Directory(current.load(ordering: .acquiring))
      for slot in 0..<UInt(directory.slotCount) {
        var bucket: Bucket? = Bucket(directory.slot(slot).pointee.load(ordering: .acquiring))
        while let now = bucket {
          if isTaken(directory, now, slot) {
            for index in 0..<now.count {
              keys.append(now.key(index).pointee.base)
              if keys.count == half { middle() }
            }
          }
          bucket = now.following
        }
      }
    }
    return keys
  }
}
