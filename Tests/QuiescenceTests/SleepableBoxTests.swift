import Quiescence
import TestSupport
import Testing

/// Values that are read in the sections of a sleepable domain.
@Suite struct SleepableBoxTests {
  struct Refused: Error {}

  @Test func readersKeepReplacedVersions() async throws {
    let alive = Counter()
    let domain = Shared(SleepableDomain())
    let box = Shared(SleepableBox(Tracked(1, alive: alive), in: domain.value))
    let inside = AsyncEvent(), leave = AsyncEvent()
    let reader = Task {
      await domain.value.read { section in
        let old = box.value.load(section)
        inside.open()
        await leave.wait()
        return (old.value.value, box.value.load(section).value.value)
      }
    }
    await inside.wait()
    box.value.publish(Tracked(2, alive: alive))
    await Memb.barrier()
    #expect(alive.value == 2, "the version that is being read went")
    leave.open()
    #expect(await reader.value == (1, 2))
    await domain.value.barrier()
    #expect(alive.value == 1)
  }

  /// A read of the box is a section too, as long as its body is suspended.
  @Test func sleepingReadKeepsItsVersion() async {
    let alive = Counter()
    let domain = Shared(SleepableDomain())
    let box = Shared(SleepableBox(Tracked(1, alive: alive), in: domain.value))
    let inside = AsyncEvent(), leave = AsyncEvent()
    let reader = Task {
      await box.value.read { version in
        inside.open()
        await leave.wait()
        return version.value
      }
    }
    await inside.wait()
    #expect(domain.value.openSections == 1)
    box.value.publish(Tracked(2, alive: alive))
    let gracePeriod = domain.value.startGracePeriod()
    await Memb.barrier()
    #expect(!gracePeriod.isElapsed && alive.value == 2)
    leave.open()
    #expect(await reader.value == 1)
    await domain.value.barrier()
    #expect(alive.value == 1 && domain.value.openSections == 0)
  }

  @Test func exchangeGivesTheOldValueBack() async {
    struct Key: ~Copyable, Sendable { let number: Int }
    let domain = SleepableDomain()
    let box = SleepableBox(Key(number: 1), in: domain)
    let old = await box.exchange(Key(number: 2)).take()
    #expect(old.number == 1)
    #expect(box.read { $0.number } == 2)
    let now = await box.read { key in
      await Task.yield()
      return key.number
    }
    #expect(now == 2)
  }

  /// The verbs are those of ``RCUBox``: what replaces a value gives it back, and dropping it
  /// destroys it when its readers have left.
  @Test func oldValueThatIsDroppedWaitsForItsReaders() async {
    let alive = Counter()
    let domain = Shared(SleepableDomain())
    let box = Shared(SleepableBox(Tracked(1, alive: alive), in: domain.value))
    domain.value.read { section in
      let old = box.value.load(section)
      let replaced = box.value.exchange(Tracked(2, alive: alive))
      #expect(replaced.read { $0.value } == 1)
      _ = consume replaced
      box.value.replace { Tracked($0.value + 1, alive: alive) }
      #expect(old.value.value == 1 && alive.value == 3)
      #expect(box.value.load(section).value.value == 3)
    }
    await domain.value.barrier()
    #expect(alive.value == 1)
  }

  @Test func retryingUpdateStartsAgainWhenAnotherWriterHasPublished() async {
    let domain = SleepableDomain()
    let box = SleepableBox([1], in: domain)
    var runs = 0
    box.updateRetrying { numbers in
      runs += 1
      if runs == 1 { box.publish([5]) }
      numbers.append(runs)
    }
    #expect(box.snapshot() == [5, 2])
    await box.updateRetrying { numbers in
      await Task.yield()
      if runs == 2 { box.publish([7]) }
      runs += 1
      numbers.append(runs)
    }
    #expect(box.snapshot() == [7, 4])
    #expect(throws: Refused.self) { try box.updateRetrying { _ throws(Refused) in throw Refused() } }
    #expect(box.snapshot() == [7, 4])
  }

  @Test func sleepableBoxIsACell() {
    func sum(_ cell: borrowing some RCUCell<[Int]> & ~Copyable) -> Int { cell.read { $0.reduce(0, +) } }
    let domain = SleepableDomain()
    #expect(sum(SleepableBox([1, 2], in: domain)) == 3)
  }

  @Test func noUpdateIsLost() async {
    let domain = Shared(SleepableDomain())
    let box = Shared(SleepableBox([0: 0], in: domain.value))
    await onThreads(4) { index in
      for _ in 0..<500 { box.value.update { $0[index, default: 0] += 1 } }
    }
    #expect((0..<4).allSatisfy { box.value.snapshot()[$0] == 500 })
    await domain.value.barrier()
  }

  @Test func throwingUpdatePublishesNothing() {
    let domain = SleepableDomain()
    let box = SleepableBox([1], in: domain)
    #expect(throws: Refused.self) {
      try box.update { numbers throws(Refused) in
        numbers.append(2)
        throw Refused()
      }
    }
    #expect(box.snapshot() == [1])
    #expect(
      box.update {
        $0.append(3); return $0.count
      } == 2)
    #expect(box.snapshot() == [1, 3])
  }
}

/// Misuse that the compiler cannot see.
@Suite struct SleepableMisuseTests {
  @Test func synchronizeInsideASectionOfTheSameDomainTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let domain = SleepableDomain("routes"), other = SleepableDomain("other")
        // A thread may wait for one domain inside a section of another.
        other.read { _ in domain.synchronize() }
        domain.read { _ in other.read { _ in domain.synchronize() } }
      }
    }
    #expect(
      result.trap
        == "SleepableDomain.synchronize() inside a section of the same domain, \"routes\": "
        + "it would wait for itself"
    )
  }

  @Test func waitForAGracePeriodInsideItsSectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let domain = SleepableDomain("routes")
        domain.read { _ in domain.startGracePeriod().wait() }
      }
    }
    #expect(
      result.trap == "SleepableDomain.synchronize() inside a section of the same domain, \"routes\": "
        + "it would wait for itself")
  }

  @Test func domainSynchronizeInsideAMembSectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let domain = SleepableDomain()
        Memb.read { _ in domain.synchronize() }
      }
    }
    #expect(
      result.trap?.hasSuffix("inside a Memb read-side critical section: it would wait for itself") == true)
  }

  @Test func loadWithASectionOfAnotherDomainTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let domain = SleepableDomain(), other = SleepableDomain()
      let box = SleepableBox(1, in: domain)
      print(other.read { section in box.load(section).value })
    }
    #expect(
      result.trap == "SleepableBox.load with a section of another SleepableDomain, which does not protect it")
  }

  @Test func takeInsideASectionOfTheSameDomainTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let domain = SleepableDomain("routes")
        let box = SleepableBox(1, in: domain)
        domain.read { _ in print(box.exchange(2).take()) }
      }
    }
    #expect(
      result.trap
        == "SleepableDomain.synchronize() inside a section of the same domain, \"routes\": "
        + "it would wait for itself")
  }

  @Test func writeInsideAWriteTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let domain = SleepableDomain()
      let box = SleepableBox(1, in: domain)
      box.update { number in
        box.publish(3)
        number = 2
      }
    }
    #expect(
      result.trap
        == "a write to a box inside the closure of its own update or replace would wait for itself: "
        + "write after it, or use updateRetrying"
    )
  }
}
