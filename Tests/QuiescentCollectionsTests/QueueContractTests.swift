import Quiescence
import TestSupport
import Testing

@testable import QuiescentCollections

/// The contracts at the top of `WaitFreeQueue.swift`. Each check runs on the queue, where it holds,
/// and on a broken operation, where it must fail.
@Suite(.exclusive) struct QueueContractTests {
  typealias Queue = WaitFreeQueue<Int>

  // MARK: - A

  static func waitsForConsumers(_ use: @escaping @Sendable (borrowing Queue) -> Void) async -> Bool {
    let queue = Shared(Queue())
    return await isHeldUp { whileHeld in
      queue.value.ends.pointee.lock.acquire()
      whileHeld()
      queue.value.ends.pointee.lock.release()
    } _: {
      use(queue.value)
    }
  }

  @Test func producersDoNotWaitForConsumers() async {
    let isHeldUp = await Self.waitsForConsumers { queue in
      check(queue.enqueue(1) && !queue.enqueue(2) && !queue.isEmpty)
    }
    #expect(!isHeldUp)
  }

  @Test func producerThatTakesTheLockIsCaught() async {
    #expect(await Self.waitsForConsumers { $0.enqueueUnderLock(1) })
  }

  /// A producer that was stopped between its two steps holds up no other producer.
  @Test func producersDoNotWaitForEachOther() async {
    let queue = Shared(Queue())
    let isHeldUp = await isHeldUp { whileHeld in
      let place = queue.value.takePlace(for: 1)
      whileHeld()
      Queue.linkPlace(place)
    } _: {
      check(!queue.value.enqueue(2))
    }
    #expect(!isHeldUp)
    check(queue.value.dequeue() == 1)
    check(queue.value.dequeue() == 2)
  }

  // MARK: - B

  /// Two consumers take what one producer has put in. Returns how many elements were taken twice or
  /// never.
  static func takenWrongly(_ dequeue: @escaping @Sendable (borrowing Queue) -> Int?) async -> Int {
    let count = 20_000
    let queue = Shared(Queue())
    let taken = (0..<count).map { _ in Counter() }
    for number in 0..<count { queue.value.enqueue(number) }
    await onThreads(2) { index in
      Affinity.keep(index)
      while let number = dequeue(queue.value) { taken[number].add(1) }
    }
    return taken.filter { $0.value != 1 }.count
  }

  @Test func elementIsTakenByOneConsumer() async { #expect(await Self.takenWrongly { $0.dequeue() } == 0) }

  @Test func removalAfterASeparateLookAtTheQueueIsCaught() async {
    #expect(await Self.takenWrongly { $0.dequeueInTwoTurns() } > 0)
  }

  /// What is given to a drain during which its body puts three elements in.
  static func drained(_ drain: (borrowing Queue, (Int) -> Void) -> Int) -> (taken: Int, left: Int) {
    let queue = Queue()
    for number in 0..<3 { queue.enqueue(number) }
    let taken = drain(queue) { if $0 < 3 { queue.enqueue($0 + 3) } }
    return (taken, queue.drain { _ in })
  }

  @Test func drainTakesTheElementsOfOneMoment() {
    check(Self.drained { queue, body in queue.drain { body($0) } } == (3, 3))
  }

  @Test func drainOneByOneIsCaught() {
    check(Self.drained { queue, body in queue.drainOneByOne { body($0) } } == (6, 0))
  }

  // MARK: - C

  /// Two producers meet at the empty queue, round by round. Returns how many of them were told that
  /// it was empty.
  static func toldEmpty(_ enqueue: @escaping @Sendable (borrowing Queue, Int) -> Bool) async -> (
    told: Int, rounds: Int
  ) {
    let rounds = 3000
    let told = Counter(), turns = (Counter(), Counter())
    let queue = Shared(Queue())
    await onThreads(2) { index in
      Affinity.keep(index)
      for round in 1...rounds {
        turns.0.add(1)
        while turns.0.value < 2 * round { letOthersRun() }
        if enqueue(queue.value, index) { told.add(1) }
        if turns.1.add(1) == 2 * round { queue.value.drain { _ in } }
        while turns.1.value < 2 * round { letOthersRun() }
        // The thread that drains comes to the next turn after that.
      }
    }
    return (told.value, rounds)
  }

  @Test func oneProducerFindsTheQueueEmpty() async {
    let result = await Self.toldEmpty { $0.enqueue($1) }
    #expect(result.told == result.rounds)
  }

  @Test func separateLookForEmptinessIsCaught() async {
    let result = await Self.toldEmpty { $0.enqueueAfterALook($1) }
    #expect(result.told > result.rounds)
  }

  // MARK: - D

  /// What a consumer gets while a producer is between its two steps, and another producer has
  /// returned since. The first one goes on when the consumer waits, or has returned.
  static func takenBesideAnInterruptedProducer(
    _ dequeue: @escaping @Sendable (borrowing Queue) -> Int?
  ) async -> Int? {
    let queue = Shared(Queue())
    let taken = Counter(), began = Counter(), finished = Counter()
    await onThreads(2) { index in
      if index == 0 {
        let place = queue.value.takePlace(for: 1)
        queue.value.enqueue(2)
        began.add(1)
        // Enough for a consumer that does not wait; one that waits takes turns with this thread.
        var turns = 0
        while finished.value == 0 && turns < 10_000 {
          turns += 1
          letOthersRun()
        }
        Queue.linkPlace(place)
      } else {
        while began.value == 0 { letOthersRun() }
        taken.add(dequeue(queue.value) ?? -1)
        finished.add(1)
      }
    }
    return taken.value == -1 ? nil : taken.value
  }

  @Test func consumerWaitsForAnInterruptedProducer() async {
    for _ in 0..<20 { #expect(await Self.takenBesideAnInterruptedProducer { $0.dequeue() } == 1) }
  }

  @Test func missingLinkTakenForTheEndIsCaught() async {
    var isCaught = false
    for _ in 0..<100 where !isCaught {
      isCaught = await Self.takenBesideAnInterruptedProducer { $0.dequeueWithoutWaiting() } == nil
    }
    #expect(isCaught)
  }

  // MARK: - E

  /// How many of ten elements are alive after each was taken, beside an open section.
  static func aliveAfter(_ take: (borrowing WaitFreeQueue<Single>) -> Void) -> Int {
    let alive = Counter()
    let queue = WaitFreeQueue<Single>()
    for value in 0..<10 { queue.enqueue(Single(value, alive: alive)) }
    return Memb.read { _ in
      for _ in 0..<10 { take(queue) }
      return alive.value
    }
  }

  @Test func elementIsDestroyedByItsConsumer() {
    #expect(Self.aliveAfter { _ = $0.dequeue() } == 0)
    #expect(Self.aliveAfter { $0.drain { _ in } } == 0)
  }

  @Test func elementLeftInItsNodeIsCaught() {
    #expect(Self.aliveAfter { check($0.dequeueAndRetire()) } == 10)
  }
}
