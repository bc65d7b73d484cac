import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// The contracts at the top of `RCUList.swift`. Each check runs on the list, where it holds, and on
/// a broken operation, where it must fail.
@Suite(.exclusive) struct ListContractTests {
  typealias List = RCUList<Int, Memb>
  typealias Iterate = @Sendable (borrowing List, (Int) -> Void) -> Void
  typealias Use = @Sendable (borrowing List) -> Void

  static let iterate: Iterate = { list, body in list.forEach { body(copy $0) } }

  private static func makeList(_ values: Range<Int>) -> List {
    let list = List()
    for value in values { list.append(value) }
    return list
  }

  /// Runs `body` at the first element of this value.
  private static func at(
    _ value: Int, of list: borrowing List, _ section: borrowing ReadSection<Memb>,
    _ body: (borrowing List.Entry) -> Void
  ) {
    var entries = list.entries(section)
    while let entry = entries.next() {
      if entry.value == value { return body(entry) }
    }
  }

  // MARK: - A

  static func waitsForWriters(_ use: @escaping Use) async -> Bool {
    let list = Shared(makeList(0..<10))
    return await isHeldUp { whileHeld in
      list.value.anchor.pointee.lock.acquire()
      whileHeld()
      list.value.anchor.pointee.lock.release()
    } _: {
      use(list.value)
    }
  }

  @Test func iterationsTakeNoLock() async {
    let isHeldUp = await Self.waitsForWriters { list in
      var sum = 0
      list.forEach { sum += $0 }
      Memb.read { section in
        var entries = list.entries(section)
        while let entry = entries.next() { sum += entry.value }
      }
      check(sum == 90 && list.count == 10)
    }
    #expect(!isHeldUp)
  }

  @Test func iterationUnderALockIsCaught() async {
    #expect(await Self.waitsForWriters { list in list.forEachUnderLock { _ in } })
  }

  // MARK: - B

  /// What an iteration sees that removes, at element 2, the element behind it.
  static func seenWhenTheNextIsRemoved(_ iterate: Iterate) -> [Int] {
    let list = makeList(0..<5)
    var seen: [Int] = []
    iterate(list) { value in
      seen.append(value)
      if value == 2 { list.removeAll { $0 == 3 } }
    }
    return seen
  }

  @Test func removedElementIsNotReached() {
    #expect(Self.seenWhenTheNextIsRemoved(Self.iterate) == [0, 1, 2, 4])
  }

  @Test func iterationThatLoadsAheadIsCaught() {
    let seen = Self.seenWhenTheNextIsRemoved { list, body in list.forEachLoadedAhead { body(copy $0) } }
    #expect(seen == [0, 1, 2, 3, 4])
  }

  /// How many iterations missed an element that is always there, while others are inserted before.
  static func gaps(
    until isEnough: @escaping @Sendable (Int) -> Bool = { _ in false }, _ prepend: @escaping Use
  ) async -> Int {
    let missing = Counter(), isOver = Counter()
    let list = Shared(makeList(1..<6))
    await onThreads(2) { index in
      Affinity.keep(index)
      if index == 0 {
        var rounds = 0
        while rounds < 5000 && !isEnough(missing.value) {
          rounds += 1
          prepend(list.value)
          list.value.removeAll { $0 == 0 }
        }
        isOver.add(1)
      } else {
        while isOver.value == 0 {
          var sum = 0
          list.value.forEach { sum += $0 }
          if sum != 15 { missing.add(1) }
        }
      }
    }
    return missing.value
  }

  @Test func insertionLeavesNoGap() async { #expect(await Self.gaps { $0.prepend(0) } == 0) }

  @Test func nodeLinkedBeforeItLeadsOnIsCaught() async {
    #expect(
      await Self.gaps {
        $0 > 0
      } _: {
        $0.prependTooEarly(0)
      } > 0)
  }

  // MARK: - C

  /// Two threads remove one entry, round by round. Returns how many of them got true.
  static func removals(_ remove: @escaping @Sendable (borrowing List, borrowing List.Entry) -> Bool) async
    -> (wins: Int, rounds: Int)
  {
    let rounds = 2000
    let wins = Counter(), turns = (Counter(), Counter())
    let list = Shared(List())
    await onThreads(2) { index in
      Affinity.keep(index)
      for round in 1...rounds {
        if index == 0 { list.value.append(round) }
        turns.0.add(1)
        while turns.0.value < 2 * round { letOthersRun() }
        Memb.read { section in
          at(round, of: list.value, section) { entry in
            // Both have found it before one removes it.
            turns.1.add(1)
            while turns.1.value < 2 * round { letOthersRun() }
            if remove(list.value, entry) { wins.add(1) }
          }
        }
      }
    }
    return (wins.value, rounds)
  }

  @Test func elementIsRemovedByOneThread() async {
    let result = await Self.removals { $0.remove($1) }
    #expect(result.wins == result.rounds)
  }

  @Test func removalAfterASeparateLookAtTheListIsCaught() async {
    let result = await Self.removals { $0.removeInTwoTurns($1) }
    #expect(result.wins > result.rounds)
  }

  // MARK: - D

  /// What an iteration sees that removes element 2 while it is there.
  static func seenWhenTheCurrentIsRemoved(_ remove: (borrowing List, borrowing List.Entry) -> Void) -> [Int] {
    let list = makeList(0..<5)
    var seen: [Int] = []
    Memb.read { section in
      var entries = list.entries(section)
      while let entry = entries.next() {
        seen.append(entry.value)
        if entry.value == 2 { remove(list, entry) }
      }
    }
    return seen
  }

  @Test func iterationGoesOnFromARemovedElement() {
    #expect(Self.seenWhenTheCurrentIsRemoved { $0.remove($1) } == [0, 1, 2, 3, 4])
  }

  @Test func removalThatCutsTheWayOnIsCaught() {
    #expect(Self.seenWhenTheCurrentIsRemoved { $0.removeAndCut($1) } == [0, 1, 2])
  }

  // MARK: - E

  /// How many of ten elements are alive after each was removed in an open section.
  static func aliveInSection(
    _ remove: (borrowing RCUList<Tracked, Memb>, borrowing RCUList<Tracked, Memb>.Entry) -> Void
  ) -> Int {
    let alive = Counter()
    let list = RCUList<Tracked, Memb>()
    for value in 0..<10 { list.append(Tracked(value, alive: alive)) }
    return Memb.read { section in
      for _ in 0..<10 {
        // Anew each time: a broken removal leaves nothing to go on from.
        var entries = list.entries(section)
        if let entry = entries.next() { remove(list, entry) }
      }
      return alive.value
    }
  }

  @Test func elementsLiveUntilTheSectionEnds() async {
    #expect(Self.aliveInSection { $0.remove($1) } == 10)
  }

  @Test func removalWithoutAGracePeriodIsCaught() async {
    #expect(Self.aliveInSection { $0.removeAndFreeAtOnce($1) } == 0)
  }

  // MARK: - F

  /// How many iterations saw a part of ten elements that were removed together.
  static func parts(
    until isEnough: @escaping @Sendable (Int) -> Bool = { _ in false }, _ removeAll: @escaping Use
  ) async -> Int {
    let parts = Counter(), turns = (Counter(), Counter())
    // The number of the last round, once it has begun.
    let last = Counter()
    let list = Shared(List())
    await onThreads(2) { index in
      Affinity.keep(index)
      var round = 0
      repeat {
        round += 1
        if index == 0 {
          for value in 0..<10 { list.value.append(value) }
          if round == 2000 || isEnough(parts.value) { last.add(round) }
        }
        turns.0.add(1)
        while turns.0.value < 2 * round { letOthersRun() }
        if index == 0 {
          removeAll(list.value)
        } else {
          var count = 10
          while count != 0 {
            count = 0
            list.value.forEach { _ in count += 1 }
            if count != 0 && count != 10 { parts.add(1) }
          }
        }
        turns.1.add(1)
        while turns.1.value < 2 * round { letOthersRun() }
      } while round != last.value
    }
    return parts.value
  }

  @Test func allElementsGoAtOneMoment() async { #expect(await Self.parts { $0.removeAll() } == 0) }

  @Test func removalOneByOneIsCaught() async {
    #expect(
      await Self.parts {
        $0 > 0
      } _: { list in
        list.removeAll { _ in true }
      } > 0)
  }

  static func waitsForReaders(_ use: @escaping Use) async -> Bool {
    let list = Shared(makeList(0..<10))
    return await isHeldUp { whileHeld in
      Memb.read { _ in whileHeld() }
    } _: {
      use(list.value)
    }
  }

  @Test func listWritersDoNotWaitForReaders() async {
    let isHeldUp = await Self.waitsForReaders { list in
      list.append(10)
      list.prepend(11)
      check(list.removeAll { $0 == 5 } == 1)
      list.removeAll()
    }
    #expect(!isHeldUp)
  }

  @Test func listWriteThatWaitsForAGracePeriodIsCaught() async {
    let isHeldUp = await Self.waitsForReaders { list in
      list.append(10)
      Memb.synchronize()
    }
    #expect(isHeldUp)
  }
}
