import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// What one thread sees: a dictionary like the standard library's.
@Suite struct DictionaryTests {
  /// Keys of this type have few hashes: long chains, and equal tags.
  struct Colliding: Hashable, Sendable {
    let number: Int
    func hash(into hasher: inout Hasher) { hasher.combine(number % 3) }
  }

  /// Compares with the standard library's after each of many random changes; grows and shrinks on
  /// the way.
  private func compare<Key: Hashable & Sendable, F: Flavor>(
    _: F.Type, steps: Int, keys: Int, seed: UInt64, _ key: (Int) -> Key
  ) {
    F.readAnywhere {
      var random = Random(seed: seed)
      var model: [Key: Int] = [:]
      let table = RCUDictionary<Key, Int, F>()
      for step in 0..<steps {
        // Phases in which it rather grows, and in which it rather shrinks.
        let grows = step / (2 * keys) % 2 == 0
        let k = key(Int(random.next() % UInt64(keys)))
        switch random.next() % 8 {
        case 0: check(table.updateValue(step, forKey: k) == model.updateValue(step, forKey: k))
        case 1:
          let (inserted, value) = table.insert(step, forKey: k)
          check(inserted == (model[k] == nil))
          if inserted { model[k] = step }
          check(value == model[k])
        case 2:
          let old = model[k]
          check(table.replaceValue(step, forKey: k) == old)
          if old != nil { model[k] = step }
        case 3:
          let result = table.update(k) { value in
            value += 1
            return value
          }
          if let old = model[k] { model[k] = old + 1 }
          check(result == model[k])
        case 4:
          table.update(k, default: 0) { $0 += 1 }
          model[k, default: 0] += 1
        default:
          if grows {
            table[k] = step
            model[k] = step
          } else {
            check(table.removeValue(forKey: k) == model.removeValue(forKey: k))
          }
        }
        check(table[k] == model[k])
        check(table.contains(k) == (model[k] != nil))
        check(table.count == model.count)
        if step % 257 == 0 { check(table.snapshot() == model) }
      }
      check(table.snapshot() == model)
      for number in 0..<keys { check(table[key(number)] == model[key(number)]) }
    }
  }

  @Test(arguments: FlavorCase.all) func tableBehavesLikeADictionary(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      await onThread {
        compare(F.self, steps: 6000, keys: 700, seed: 1) { $0 }
        compare(F.self, steps: 3000, keys: 300, seed: 2) { FastHashed($0) }
        compare(F.self, steps: 3000, keys: 300, seed: 3) { "key number \($0)" }
        compare(F.self, steps: 1500, keys: 60, seed: 4) { Colliding(number: $0) }
        compare(F.self, steps: 1500, keys: 100, seed: 5) { FastHashed(Array("\($0 * $0)".utf8)) }
        // Only a change in the lowest bits, only one in the highest.
        compare(F.self, steps: 1500, keys: 200, seed: 6) { FastHashed(UInt64($0) << 56 | UInt64($0 >> 8)) }
      }
    }
    await run(flavor.type)
  }

  @Test func tableGrowsAndShrinks() {
    let table = RCUDictionary<Int, Int, Memb>()
    let least = table.capacity
    for number in 0..<10_000 { table[number] = number }
    check(table.count == 10_000 && table.capacity >= 10_000)
    let most = table.capacity
    for number in 0..<10_000 { check(table.removeValue(forKey: number) == number) }
    check(table.isEmpty && table.capacity < most / 16)
    check(table.removeValue(forKey: 1) == nil)
    table.removeAll()
    check(table.capacity == least)
  }

  @Test func reservedCapacityStays() {
    let table = RCUDictionary<Int, Int, Memb>(minimumCapacity: 1000)
    let reserved = table.capacity
    check(reserved >= 1000)
    for number in 0..<1000 { table[number] = number }
    check(table.capacity == reserved)
    for number in 0..<1000 { table[number] = nil }
    check(table.capacity == reserved)
    table.reserveCapacity(100)
    check(table.capacity == reserved)
    table.reserveCapacity(10_000)
    check(table.capacity >= 10_000)
    table[1] = 1
    table.removeAll(keepingCapacity: true)
    check(table.capacity >= 10_000 && table.isEmpty && table[1] == nil)
  }

  @Test func readLendsTheValueInPlace() {
    let table = RCUDictionary<String, [Int], Memb>(["a": [1, 2]])
    check(table.read("a") { $0.count } == 2)
    check(table.read("b") { $0.count } == nil)
    Memb.read { section in
      check(table.load("a", section)?.value == [1, 2])
      check(table.load("b", section)?.value == nil)
    }
    check(table["b", default: [3]] == [3])
    check(table["a", default: [3]] == [1, 2])
  }

  @Test func updateThatThrowsChangesNothing() {
    struct No: Error {}
    let table = RCUDictionary<Int, Int, Memb>([1: 1])
    #expect(throws: No.self) {
      try table.update(1) { value throws(No) in
        value = 2
        throw No()
      }
    }
    #expect(throws: No.self) {
      try table.update(2, default: 5) { value throws(No) in
        value = 2
        throw No()
      }
    }
    #expect(throws: No.self) { try table.removeValue(forKey: 1) { _ throws(No) in throw No() } }
    check(table.snapshot() == [1: 1])
    // And the lock is free again.
    check(table.removeValue(forKey: 1) { $0 == 2 } == nil)
    check(table.removeValue(forKey: 1) { $0 == 1 } == 1)
    check(table.removeValue(forKey: 1) { _ in true } == nil)
    check(table.isEmpty)
  }

  @Test func keysAndValuesAreDestroyedOnce() async {
    struct Key: Hashable, Sendable {
      let tracked: Tracked
      static func == (left: Key, right: Key) -> Bool { left.tracked.value == right.tracked.value }
      func hash(into hasher: inout Hasher) { hasher.combine(tracked.value) }
    }
    let alive = Counter()
    do {
      let table = RCUDictionary<Key, Tracked, Memb>()
      for round in 0..<3 {
        for number in 0..<500 {
          table[Key(tracked: Tracked(number, alive: alive))] = Tracked(round, alive: alive)
        }
        for number in 0..<400 { table[Key(tracked: Tracked(number, alive: alive))] = nil }
      }
      await Memb.barrier()
      check(alive.value == 2 * table.count)
      if true { table.removeAll() }
      await Memb.barrier()
      check(alive.value == 0)
      for number in 0..<500 { table[Key(tracked: Tracked(number, alive: alive))] = Tracked(0, alive: alive) }
    }
    await Memb.barrier()
    check(alive.value == 0)
  }

  @Test func chosenReclaimerDestroysRemovedValues() async {
    let reclaimer = RCUReclaimer(named: "table", Memb.self)
    let alive = Counter()
    let table = RCUDictionary<Int, Tracked, Memb>(reclaimer: reclaimer)
    table[1] = Tracked(1, alive: alive)
    table[1] = nil
    await reclaimer.barrier()
    check(alive.value == 0)
  }

  @Test func reclaimerOfAnotherFlavorTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      _ = RCUDictionary<Int, Int, Memb>(reclaimer: RCUReclaimer(named: "mb", MB.self))
    }
    check(
      text(result).contains(
        "a collection that is read under Memb was given a reclaimer of another flavor"))
  }

  /// Also of another key, which may have another lock: the trap does not depend on luck.
  @Test(arguments: [0, 1, 2, 3, 4, 5, 6, 7]) func writeInsideAnUpdateTraps(_ key: Int) async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) { [key] in
      let table = RCUDictionary<Int, Int, Memb>([0: 0])
      table.update(0) { _ in table[key] = 1 }
    }
    check(
      text(result).contains(
        "RCUDictionary: a write to a dictionary inside the closure of its own update would wait for itself"))
  }

  @Test func updateMayReadAndWriteOtherEntries() {
    let table = RCUDictionary<Int, Int, Memb>([0: 1, 1: 2])
    let other = RCUDictionary<Int, Int, Memb>()
    table.update(0) { value in
      other[5] = value
      value += table[1] ?? 0
    }
    check(table[0] == 3 && other[5] == 1)
  }

  @Test func entriesAreFoundByTheirTags() {
    typealias Bucket = QuiescentCollections.Bucket<Int, Int>
    for count in 0...7 {
      let bucket = Bucket.make(7, depth: 63, next: nil)
      for index in 0..<count { bucket.append(index, -index, tag: UInt8(0x80 | index)) }
      check(bucket.count == count && bucket.depth == 63)
      for tag in 0x80...0xFF {
        var found = Bucket.candidates(bucket.tags, UInt8(tag))
        var indices: [Int] = []
        while found != 0 {
          indices.append(found.trailingZeroBitCount >> 3)
          found &= found - 1
        }
        // Each that is right; of the others only entries, never what is behind them.
        check(tag & 0x7F >= count || indices.contains(tag & 0x7F))
        check(indices.allSatisfy { $0 < count })
      }
      bucket.free()
    }
  }

  @Test func fastHashDependsOnEveryBit() {
    for bit in 0..<64 {
      let hash = { (number: UInt64) in number.fastHash(seed: 42) }
      var differences = (low: 0, high: 0)
      for number in 0..<256 as Range<UInt64> {
        let difference = hash(number &* 0x9E37) ^ hash(number &* 0x9E37 ^ 1 << UInt64(bit))
        if difference & 0xFF != 0 { differences.low += 1 }
        if difference >> 57 != 0 { differences.high += 1 }
      }
      check(differences.low > 128 && differences.high > 128, "bit \(bit)")
    }
    check([UInt8]("abcdefgh1".utf8).fastHash(seed: 1) != [UInt8]("abcdefgh2".utf8).fastHash(seed: 1))
    check([UInt8]().fastHash(seed: 1) != [UInt8](repeating: 0, count: 1).fastHash(seed: 1))
    check(
      [UInt8](repeating: 0, count: 8).fastHash(seed: 1) != [UInt8](repeating: 0, count: 16).fastHash(seed: 1))
  }
}

/// The same numbers in every run.
struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state &* 0x2545_F491_4F6C_DD1D >> 11
  }
}
