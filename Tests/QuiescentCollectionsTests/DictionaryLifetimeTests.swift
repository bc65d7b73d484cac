import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// Contracts E and F of `RCUDictionary`: how long values live, and what is found after a removal.
@Suite(.exclusive) struct DictionaryLifetimeTests {
  typealias Table = RCUDictionary<Int, Tracked, Memb>

  // MARK: - E

  /// How many of a hundred values are alive after `replace` has replaced each of them beside an
  /// open section that may use them. The hundred new ones do not count.
  static func aliveInSection(_ replace: @escaping @Sendable (borrowing Table, Int, Tracked) -> Void) async
    -> Int
  {
    let alive = Counter(), result = Counter()
    // Room for all, and a barrier: a bucket that an insertion replaced, or that a growth divides
    // later, holds a copy of each value until a grace period ends.
    let table = Shared(Table(minimumCapacity: 100))
    for key in 0..<100 { table.value[key] = Tracked(key, alive: alive) }
    await Memb.barrier()
    let isHeld = Parker(), isReplaced = Parker()
    await onThreads(2) { index in
      if index == 0 {
        Memb.read { _ in
          isHeld.open()
          isReplaced.wait()
          result.add(alive.value - 100)
        }
      } else {
        isHeld.wait()
        for key in 0..<100 { replace(table.value, key, Tracked(1000 + key, alive: alive)) }
        isReplaced.open()
      }
    }
    return result.value
  }

  @Test func valuesLiveUntilTheSectionEnds() async {
    #expect(await Self.aliveInSection { $0.updateValue($2, forKey: $1) } == 100)
    #expect(await Self.aliveInSection { table, key, value in table.update(key) { $0 = value } } == 100)
  }

  @Test func reclamationWithoutAGracePeriodIsCaught() async {
    #expect(await Self.aliveInSection { $0.updateValueAndFreeAtOnce($2, forKey: $1) } == 0)
  }

  // MARK: - F

  /// How many of a hundred keys a lookup finds after they were removed. The lookup gets the
  /// directory that was there before.
  static func foundAfterRemoval(
    _ contains: (borrowing RCUDictionary<Int, Int, Memb>, Int, Directory<Int, Int>) -> Bool
  ) -> Int {
    let table = RCUDictionary<Int, Int, Memb>()
    for key in 0..<100 { table[key] = key }
    // The section keeps the old directory.
    return Memb.read { _ in
      let old = Directory<Int, Int>(table.current.load(ordering: .acquiring))
      table.growForTest()
      var found = 0
      for key in 0..<100 {
        table[key] = nil
        if contains(table, key, old) { found += 1 }
      }
      return found
    }
  }

  @Test func removedKeyIsNotFound() {
    #expect(Self.foundAfterRemoval { table, key, _ in table.contains(key) } == 0)
  }

  @Test func lookupInAnOldDirectoryIsCaught() {
    #expect(Self.foundAfterRemoval { $0.contains($1, in: $2) } > 0)
  }

  /// Records the thread of its destruction.
  final class Owned: Sendable {
    let destroyers: Lines
    init(_ destroyers: Lines) { self.destroyers = destroyers }
    deinit { destroyers.add("\(ServiceThread.currentID)") }
  }

  /// Removes ten values. Returns how many were destroyed after a grace period, and how many of
  /// these by the thread that removed them.
  static func destructions(
    _ remove: @escaping @Sendable (borrowing RCUDictionary<Int, Owned, Memb>, Int) -> Void
  ) async -> (all: Int, byTheWriter: Int) {
    let destroyers = Lines()
    let table = Shared(RCUDictionary<Int, Owned, Memb>())
    for key in 0..<10 { table.value[key] = Owned(destroyers) }
    // Buckets that insertions replaced hold copies.
    await Memb.barrier()
    let writer = await onThread {
      // In a section: the writer drops the copy that a removal returns before the grace period
      // ends.
      Memb.read { _ in for key in 0..<10 { remove(table.value, key) } }
      return "\(ServiceThread.currentID)"
    }
    await Memb.barrier()
    let all = destroyers.all
    return (all.count, all.filter { $0 == writer }.count)
  }

  @Test func removedValuesAreDestroyedByTheReclaimer() async {
    let result = await Self.destructions { $0.removeValue(forKey: $1) }
    #expect(result.all == 10 && result.byTheWriter == 0)
  }

  @Test func destructionByTheWriterIsCaught() async {
    #expect(await Self.destructions { $0.removeValueAndFreeAtOnce(forKey: $1) }.byTheWriter == 10)
  }

  @Test func removalThatForgetsToRetireIsCaught() async {
    let forgotten = Shared(WaitFreeQueue<ForgottenBucket>())
    let result = await Self.destructions { table, key in
      if let bucket = table.removeValueAndKeepIt(forKey: key) {
        forgotten.value.enqueue(ForgottenBucket(base: bucket))
      }
    }
    #expect(result.all < 10)
    forgotten.value.drain { BucketReclaimer<Int, Owned>.reclaim($0.base) }
  }

  struct ForgottenBucket: @unchecked Sendable {
    // Unchecked: one thread at a time has it.
    let base: UnsafeMutableRawPointer
  }
}
