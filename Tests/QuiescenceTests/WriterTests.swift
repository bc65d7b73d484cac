import Quiescence
import TestSupport
import Testing

/// Writers of one box, alone and against each other.
@Suite struct WriterTests {
  struct Refused: Error, Equatable {}

  @Test func compareExchangePublishesOverTheVersionThatWasSeen() async {
    let box = RCUBox([1])
    let taken = await onThread {
      let outcome = Memb.read { section in box.compareExchange(box.load(section), with: [2]) }
      guard case .exchanged(let old) = consume outcome else { return [Int]() }
      return old.take()
    }
    #expect(taken == [1])
    #expect(box.snapshot() == [2])
  }

  @Test func compareExchangeOverAnOldVersionReturnsTheNewValue() {
    struct Key: ~Copyable, Sendable { let bits: Int }
    let box = RCUBox(Key(bits: 1))
    let other = RCUBox(Key(bits: 1))
    let back = Memb.read { section in
      let seen = box.load(section)
      box.exchange(Key(bits: 1))
      guard case .refused(let back) = box.compareExchange(seen, with: Key(bits: 9)) else { return 0 }
      return back.bits
    }
    #expect(back == 9)
    #expect(box.read { $0.bits } == 1)
    let isExchanged = Memb.read { section in
      box.compareExchange(other.load(section), with: Key(bits: 2)).isExchanged
    }
    #expect(!isExchanged, "an equal value of another box")
  }

  @Test func compareExchangeUnderAnOnlineReader() async {
    let outcome = await onThread {
      let box = RCUBox(1, flavor: QSBR.self)
      return QSBR.withOnlineReader { reader in
        let first = box.compareExchange(box.load(reader), with: 2).isExchanged
        reader.quiescentState()
        return first && box.load(reader).value == 2
      }
    }
    #expect(outcome)
  }

  @Test func replaceMakesTheNewValueFromTheOldOne() async {
    struct Key: ~Copyable, Sendable { let bits: Int }
    let box = RCUBox(Key(bits: 1))
    let old = box.replace { Key(bits: $0.bits + 1) }
    #expect(old.read { $0.bits } == 1)
    #expect(await old.take().bits == 1)
    #expect(box.read { $0.bits } == 2)
    #expect(throws: Refused.self) { try box.replace { _ throws(Refused) in throw Refused() } }
    #expect(box.replace { Key(bits: $0.bits + 1) }.read { $0.bits } == 2, "the lock was released")
  }

  @Test func updateRetryingRunsAgainOnTheNewerVersion() {
    let box = RCUBox([1])
    var seen: [[Int]] = []
    let count = box.updateRetrying { value in
      seen.append(value)
      // Another write, on this thread: the closure may write to its own box.
      if seen.count < 3 { box.update { $0.append(0) } }
      value.append(9)
      return value.count
    }
    #expect(seen == [[1], [1, 0], [1, 0, 0]])
    #expect(count == 4)
    #expect(box.snapshot() == [1, 0, 0, 9])
  }

  @Test func updateRetryingMayWaitForAGracePeriod() async {
    let value = await onThread {
      let box = RCUBox(1)
      box.updateRetrying { value in
        Memb.synchronize()
        value += 1
      }
      return box.snapshot()
    }
    #expect(value == 2)
  }

  @Test func updateRetryingMaySuspend() async {
    let box = RCUBox([1])
    var runs = 0
    let result = await box.updateRetrying { value in
      await Memb.synchronize()
      runs += 1
      if runs == 1 { box.exchange([5]) }
      value.append(2)
      return value
    }
    #expect(runs == 2)
    #expect(result == [5, 2])
    #expect(box.snapshot() == [5, 2])
    await #expect(throws: Refused.self) {
      try await box.updateRetrying { value async throws(Refused) in
        await Memb.synchronize()
        value = []
        throw Refused()
      }
    }
    #expect(box.snapshot() == [5, 2])
  }

  @Test func updateRetryingThatThrowsPublishesNothing() async {
    let alive = Counter()
    do {
      let box = RCUBox(Tracked(1, alive: alive))
      #expect(throws: Refused.self) {
        try box.updateRetrying { value throws(Refused) in
          value = Tracked(2, alive: alive)
          throw Refused()
        }
      }
      #expect(box.read { $0.value } == 1)
      #expect(throws: Refused.self) {
        try box.update { value throws(Refused) in
          value = Tracked(2, alive: alive)
          throw Refused()
        }
      }
      #expect(alive.value == 1)
    }
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  @Test func writeInsideItsOwnUpdateTraps() async {
    let update = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let box = RCUBox(1)
      box.update { _ in box.update { $0 += 1 } }
    }
    expectRule(update)
    let exchange = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let box = RCUBox(1)
      box.replace { value in
        box.exchange(5); return value
      }
    }
    expectRule(exchange)
    let compareExchange = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let box = RCUBox(1)
      box.update { _ in Memb.read { section in _ = box.compareExchange(box.load(section), with: 2) } }
    }
    expectRule(compareExchange)
    let retrying = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let box = RCUBox(1)
      box.update { _ in box.updateRetrying { $0 += 1 } }
    }
    expectRule(retrying)
  }

  private func expectRule(_ result: ExitTest.Result?) {
    #expect(
      result.trap
        == "a write to a box inside the closure of its own update or replace would wait for itself: "
        + "write after it, or use updateRetrying")
  }

  @Test func updateMayUpdateAnotherBox() {
    let first = RCUBox(1), second = RCUBox(10)
    first.update { value in
      value += second.update {
        $0 += 1; return $0
      }
    }
    #expect(first.snapshot() == 12)
    first.update { $0 = 0 }
    #expect(first.snapshot() == 0)
  }

  @Test func readingInsideAnUpdateSeesTheVersionBefore() {
    let box = RCUBox(1)
    box.update { value in
      value = 2
      #expect(box.snapshot() == 1)
    }
    #expect(box.snapshot() == 2)
  }
}
