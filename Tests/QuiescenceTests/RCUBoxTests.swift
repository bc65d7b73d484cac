import Quiescence
import TestSupport
import Testing

@Suite struct RCUBoxTests {
  struct Pair: Sendable, Equatable {
    var left: Int
    var right: Int
  }

  @Test func readsWhatWasPublished() {
    let box = RCUBox(Pair(left: 1, right: 2))
    #expect(box.read { $0.left + $0.right } == 3)
    #expect(box.snapshot() == Pair(left: 1, right: 2))
    #expect(Memb.read { section in box.load(section).value.right } == 2)
  }

  @Test func twoLoadsInOneSectionBothStayValid() {
    let box = RCUBox(Pair(left: 1, right: 1))
    Memb.read { section in
      let before = box.load(section)
      box.update { $0.left = 2 }
      let after = box.load(section)
      #expect(before.value.left == 1)
      #expect(after.value.left == 2)
    }
  }

  @Test func updateReturnsAndPublishes() {
    let box = RCUBox([1])
    #expect(
      box.update {
        $0.append(2); return $0.count
      } == 2)
    #expect(box.snapshot() == [1, 2])
  }

  @Test func updateThatThrowsPublishesNothing() {
    struct Refused: Error {}
    let box = RCUBox([1])
    #expect(throws: Refused.self) {
      try box.update { value throws(Refused) in
        value.append(2)
        throw Refused()
      }
    }
    #expect(box.snapshot() == [1])
    #expect(box.update { $0.count } == 1, "the lock was released")
  }

  @Test func readPassesErrorsOnAndLeavesTheSection() {
    struct Refused: Error {}
    let box = RCUBox(1)
    #expect(throws: Refused.self) { try box.read { _ throws(Refused) in throw Refused() } }
    #expect(!Memb.isInside)
  }

  @Test func exchangeGivesTheOldValueBack() async {
    let box = RCUBox(Pair(left: 1, right: 1))
    let old = await box.exchange(Pair(left: 2, right: 2)).take()
    #expect(old == Pair(left: 1, right: 1))
    let second = await onThread { RCUBox([1]).exchange([2]).take() }
    #expect(second == [1])
  }

  @Test func everyVersionIsDestroyedOnce() async {
    let alive = Counter()
    do {
      let box = RCUBox(Tracked(0, alive: alive))
      for index in 1...99 { box.exchange(Tracked(index, alive: alive)) }
      box.publish(Tracked(100, alive: alive))
      #expect(box.read { $0.value } == 100)
    }
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  @Test func noncopyableValues() async {
    struct Key: ~Copyable, Sendable {
      let bits: Int
    }
    let box = RCUBox(Key(bits: 1))
    let old = await box.exchange(Key(bits: 2)).take()
    #expect(old.bits == 1)
    #expect(box.read { $0.bits } == 2)
  }

  @Test func updatesFromManyThreadsAreAllThere() async {
    let box = Shared(RCUBox(0))
    await onThreads(4) { _ in
      for _ in 0..<1000 { box.value.update { $0 += 1 } }
    }
    #expect(box.value.snapshot() == 4000)
  }

  @Test(.exclusive) func readersSeeWholeVersions() async {
    let box = Shared(RCUBox(Pair(left: 0, right: 0)))
    let torn = Counter()
    let reads = Counter()
    await onThreads(3) { index in
      if index == 0 {
        while reads.value < 200_000 { box.value.update { $0 = Pair(left: $0.left + 1, right: $0.right + 1) } }
      } else {
        while reads.value < 200_000 {
          for _ in 0..<100 where !box.value.read({ $0.left == $0.right }) { torn.add(1) }
          reads.add(100)
        }
      }
    }
    #expect(torn.value == 0)
  }

  @Test func flavorIsInferredFromTheType() {
    struct Tables: ~Copyable { let flows: RCUBox<Int, MB> = RCUBox(7) }
    #expect(Tables().flows.read { $0 } == 7)
    let box = RCUBox(1)
    #expect(Memb.read { section in box.load(section).value } == 1)
  }

  @Test func oldVersionsGoToTheBoxesOwnReclaimer() async {
    let alive = Counter()
    let reclaimer = RCUReclaimer(named: "own", Memb.self)
    let box = RCUBox(Tracked(1, alive: alive), reclaimer: reclaimer)
    for index in 2...10 { box.publish(Tracked(index, alive: alive)) }
    box.exchange(Tracked(11, alive: alive))
    box.update { $0 = Tracked($0.value + 1, alive: alive) }
    await reclaimer.barrier()
    #expect(alive.value == 1 && box.read { $0.value } == 12)
    #expect(reclaimer.statistics.run == 11)
  }

  @Test func reclaimerOfAnotherFlavorTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let box = RCUBox(1, reclaimer: RCUReclaimer(named: "other", MB.self))
      print(box.read { $0 })
    }
    let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(
      text.contains(
        "RCUBox of Memb with the reclaimer \"other\" of another flavor, which does not wait for its readers"),
      "\(text)")
  }

  @Test func sharedBoxesAreElementsOfCollections() async {
    func sum(_ cell: some RCUCell<[Int]>) -> Int { cell.read { $0.reduce(0, +) } }
    var tables = ["a": SharedRCUBox([1, 2]), "b": SharedRCUBox([3])]
    let first = tables.removeValue(forKey: "a")
    tables["b"]?.box.update { $0.append(4) }
    #expect(first.map(sum) == 3 && tables["b"].map(sum) == 7)
    #expect(tables["b"]?.snapshot() == [3, 4])
  }
}
