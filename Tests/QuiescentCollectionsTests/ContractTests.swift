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

  /// How many entries of one key there are after two insertions.
  static func entriesOfOneKey(_ insert: (borrowing Table, Int) -> Void) -> Int {
    let table = Table()
    insert(table, 1)
    insert(table, 2)
    var count = 0
    table.forEach { _, _ in count += 1 }
    return count
  }

  @Test func keyIsThereOnce() {
    #expect(Self.entriesOfOneKey { $0[FastHashed(7)] = $1 } == 1)
    #expect(Self.entriesOfOneKey { $0.insert($1, forKey: FastHashed(7)) } == 1)
    #expect(Self.entriesOfOneKey { $0.update(FastHashed(7), default: $1) { $0 += 1 } } == 1)
  }

  @Test func insertionWithoutALookIsCaught() {
    #expect(Self.entriesOfOneKey { $0.insertWithoutLooking($1, forKey: FastHashed(7)) } == 2)
  }

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

  struct Pair: Sendable {
    var left: Int
    var right: Int
  }

  /// How many lookups found half of one value and half of another.
  static func mixtures(
    until isEnough: @escaping @Sendable (Int) -> Bool = { _ in false },
    _ replace: @escaping @Sendable (borrowing RCUDictionary<Int, Pair, Memb>, Int) -> Void
  ) async -> Int {
    let mixed = Counter(), isOver = Counter()
    let table = Shared(RCUDictionary<Int, Pair, Memb>())
    table.value[1] = Pair(left: 0, right: 0)
    await onThreads(2) { index in
      Affinity.keep(index)
      if index == 0 {
        var number = 0
        while number < 50_000 && !isEnough(mixed.value) {
          number += 1
          replace(table.value, number)
        }
        isOver.add(1)
      } else {
        while isOver.value == 0 {
          if table.value.read(1, { $0.left != $0.right }) != false { mixed.add(1) }
        }
      }
    }
    return mixed.value
  }

  @Test func lookupFindsAWholeValue() async {
    #expect(await Self.mixtures { $0.updateValue(Pair(left: $1, right: $1), forKey: 1) } == 0)
    #expect(
      await Self.mixtures { table, number in table.update(1) { $0 = Pair(left: number, right: number) } } == 0
    )
  }

  @Test func replacementInTwoHalvesIsCaught() async {
    let mixed = await Self.mixtures {
      $0 > 0
    } _: { table, number in
      table.update(1) { $0.left = number }
      table.update(1) { $0.right = number }
    }
    #expect(mixed > 0)
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

  /// The slots are those of the newest directory: entries have moved behind the iteration's place.
  @Test func iterationThroughTwoDirectoriesIsCaught() {
    var broken = Self.real
    broken.keys = { $0.keysInTheNewestDirectory($1) }
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
