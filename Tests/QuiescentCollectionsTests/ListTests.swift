import Quiescence
import QuiescentCollections
import TestSupport
import Testing

struct No: Error {}

/// An element that cannot be copied.
struct Single: ~Copyable, Sendable {
  let value: Int
  private let tracked: Tracked

  init(_ value: Int, alive: Counter) {
    self.value = value
    tracked = Tracked(value, alive: alive)
  }
}

/// The number of an element that was taken out, which is destroyed.
private func number(_ element: consuming Single?) -> Int? {
  switch consume element {
  case .some(let element): element.value
  case .none: nil
  }
}

@Suite struct ListTests {
  private func values<F: Flavor>(_ list: borrowing RCUList<Single, F>) -> [Int] {
    F.whereItMayRead {
      var values: [Int] = []
      list.forEach { values.append($0.value) }
      return values
    }
  }

  @Test(arguments: FlavorCase.all) func elementsAreInOrder(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      await onThread {
        let list = RCUList<Single, F>()
        check(list.isEmpty)
        for value in [2, 3] { list.append(Single(value, alive: alive)) }
        list.prepend(Single(1, alive: alive))
        check(values(list) == [1, 2, 3] && list.count == 3)
        F.whereItMayRead {
          F.read { section in
            var entries = list.entries(section)
            while let entry = entries.next() {
              if entry.value.value != 2 { continue }
              let before = list.insert(Single(10, alive: alive), before: entry) != nil
              let after = list.insert(Single(20, alive: alive), after: entry) != nil
              check(!before && !after)
              check(list.remove(entry) && !list.remove(entry))
              // Removed: nothing is inserted there any more.
              let isBack = number(list.insert(Single(30, alive: alive), after: entry)) == 30
              check(isBack)
              // And it is here still.
              check(entry.value.value == 2)
            }
          }
        }
        check(values(list) == [1, 10, 20, 3])
        check(F.whereItMayRead { list.removeAll { $0.value >= 10 } } == 2)
        check(values(list) == [1, 3])
        // The first, and the last.
        check(F.whereItMayRead { list.removeAll { $0.value == 3 } } == 1)
        list.append(Single(4, alive: alive))
        check(F.whereItMayRead { list.removeAll { $0.value == 1 } } == 1)
        list.prepend(Single(0, alive: alive))
        check(values(list) == [0, 4] && list.count == 2)
        list.removeAll()
        check(list.isEmpty && values(list) == [])
        list.append(Single(5, alive: alive))
        check(values(list) == [5])
      }
      await F.barrier()
      #expect(alive.value == 0)
    }
    await run(flavor.type)
  }

  @Test func entryOfAnotherListTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let list = RCUList<Int, Memb>()
      let other = RCUList<Int, Memb>()
      other.append(1)
      Memb.read { section in
        var entries = other.entries(section)
        if let entry = entries.next() { list.remove(entry) }
      }
    }
    check(text(result).contains("RCUList: an entry of another list"))
  }

  /// Elements that last are seen once and in order by every iteration, while others come and go
  /// between them.
  @Test(.exclusive, arguments: FlavorCase.all) func iterationsSeeElementsThatStay(_ flavor: FlavorCase) async
  {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      let wrong = Counter(), removed = Counter(), inserted = Counter()
      let writersLeft = Counter(2)
      do {
        let list = Shared(RCUList<Single, F>())
        for value in 0..<20 { list.value.append(Single(value, alive: alive)) }
        await onThreads(4) { index in
          if index < 2 {
            for round in 0..<400 {
              F.whereItMayRead {
                F.read { section in
                  var entries = list.value.entries(section)
                  while let entry = entries.next() {
                    if entry.value.value != round % 20 { continue }
                    let back = list.value.insert(Single(1000, alive: alive), after: entry) != nil
                    if back { wrong.add(1) }
                    inserted.add(1)
                  }
                }
              }
              // Both remove, each element once.
              removed.add(F.whereItMayRead { list.value.removeAll { $0.value == 1000 } })
            }
            writersLeft.add(-1)
          } else {
            while writersLeft.value > 0 {
              F.whereItMayRead {
                var expected = 0
                list.value.forEach { element in
                  if element.value == 1000 { return }
                  if element.value != expected { wrong.add(1) }
                  expected = element.value + 1
                }
                if expected != 20 { wrong.add(1) }
              }
            }
          }
        }
        check(list.value.count == 20)
        // By hand: the threads may release the list later than this.
        list.value.removeAll()
      }
      await F.barrier()
      #expect(wrong.value == 0)
      #expect(inserted.value == removed.value && inserted.value > 0)
      #expect(alive.value == 0)
    }
    await run(flavor.type)
  }
}

@Suite struct QueueTests {
  @Test func elementsComeOutInOrder() {
    let alive = Counter()
    do {
      let queue = WaitFreeQueue<Single>()
      check(queue.isEmpty && number(queue.dequeue()) == nil)
      check(queue.enqueue(Single(1, alive: alive)))
      check(!queue.enqueue(Single(2, alive: alive)))
      check(number(queue.dequeue()) == 1)
      check(!queue.isEmpty && number(queue.dequeue()) == 2)
      check(queue.isEmpty && number(queue.dequeue()) == nil)
      check(queue.drain { _ in } == 0)
      for value in 0..<5 { queue.enqueue(Single(value, alive: alive)) }
      var seen: [Int] = []
      check(queue.drain { seen.append($0.value) } == 5)
      #expect(seen == Array(0..<5))
      check(queue.enqueue(Single(6, alive: alive)))
      queue.enqueue(Single(7, alive: alive))
      queue.enqueue(Single(8, alive: alive))
      #expect(throws: No.self) { try queue.drain { _ throws(No) in throw No() } }
      #expect(alive.value == 0)
      queue.enqueue(Single(9, alive: alive))
    }
    #expect(alive.value == 0)
  }

  /// Every element comes out once, those of a producer in order; as many producers are told that
  /// the queue was empty as there were moments at which it was.
  @Test(.exclusive, arguments: [1, 2]) func everyElementComesOutOnce(_ consumers: Int) async {
    let perProducer = 20_000
    let alive = Counter()
    let seen = [Counter(), Counter()]
    let wrong = Counter()
    let foundEmpty = Counter()
    let producersLeft = Counter(2)
    let queue = Shared(WaitFreeQueue<Single>())
    await onThreads(2 + consumers) { index in
      if index < 2 {
        for number in 0..<perProducer {
          if queue.value.enqueue(Single(number * 2 + index, alive: alive)) { foundEmpty.add(1) }
        }
        producersLeft.add(-1)
      } else {
        var last = [-1, -1]
        var drains = false
        while true {
          let isLast = producersLeft.value == 0
          var count = 0
          func take(_ value: Int) {
            count += 1
            seen[value % 2].add(1)
            if value / 2 <= last[value % 2] { wrong.add(1) }
            last[value % 2] = value / 2
          }
          if drains {
            queue.value.drain { take($0.value) }
          } else if let one = queue.value.dequeue() {
            take(one.value)
          }
          drains.toggle()
          if count == 0 && isLast { break }
        }
      }
    }
    #expect(seen.map(\.value) == [perProducer, perProducer])
    #expect(wrong.value == 0)
    #expect(foundEmpty.value > 0)
    #expect(alive.value == 0)
  }

  /// Contract C, by a consumer that sleeps until a producer wakes it, which those do that found the
  /// queue empty: a producer that is told wrongly leaves the consumer asleep with elements in the
  /// queue.
  @Test(.exclusive) func producerThatFindsItEmptyWakesTheConsumer() async {
    let perProducer = 5000
    let queue = Shared(WaitFreeQueue<Int>())
    let wakes = Counter(), taken = Counter()
    await onThreads(3) { index in
      if index < 2 {
        for number in 0..<perProducer where queue.value.enqueue(number) { wakes.add(1) }
      } else {
        var used = 0
        while taken.value < 2 * perProducer {
          while wakes.value == used { letOthersRun() }
          used += 1
          // Down to empty, which is what the next wake says.
          taken.add(queue.value.drain { _ in })
        }
      }
    }
    #expect(taken.value == 2 * perProducer)
    check(queue.value.isEmpty)
  }
}

@Suite struct StackTests {
  @Test(arguments: FlavorCase.all) func elementsComeOutFromTheTop(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      await onThread {
        F.whereItMayRead {
          let stack = LockFreeStack<Single, F>()
          check(stack.isEmpty && number(stack.pop()) == nil)
          check(stack.push(Single(1, alive: alive)))
          check(!stack.push(Single(2, alive: alive)))
          check(number(stack.pop()) == 2)
          check(!stack.push(Single(3, alive: alive)))
          var seen: [Int] = []
          check(stack.popAll { seen.append($0.value) } == 2)
          #expect(seen == [3, 1])
          stack.push(Single(4, alive: alive))
          stack.push(Single(5, alive: alive))
          #expect(throws: No.self) { try stack.popAll { _ throws(No) in throw No() } }
          // At once, not after a grace period.
          #expect(alive.value == 0)
          stack.push(Single(6, alive: alive))
        }
      }
      #expect(alive.value == 0)
      await F.barrier()
    }
    await run(flavor.type)
  }

  /// Each element comes out once while threads push and pop the same few: what a node that came
  /// back would break.
  @Test(.exclusive, arguments: FlavorCase.all) func everyElementComesOutOnce(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async {
      let alive = Counter()
      let rounds = 20_000
      let pushed = Counter(), popped = Counter(), sum = Counter()
      let stack = Shared(LockFreeStack<Single, F>())
      await onThreads(4) { index in
        for round in 0..<rounds {
          if round % 2 == 0 {
            stack.value.push(Single(index * rounds + round, alive: alive))
            pushed.add(1)
            sum.add(index * rounds + round)
          } else if let value = F.whereItMayRead({ number(stack.value.pop()) }) {
            popped.add(1)
            sum.add(-value)
          }
          if round % 1024 == 1023 && index == 0 {
            popped.add(stack.value.popAll { sum.add(-$0.value) })
          }
        }
      }
      popped.add(stack.value.popAll { sum.add(-$0.value) })
      #expect(pushed.value == popped.value)
      #expect(sum.value == 0)
      #expect(alive.value == 0)
      await F.barrier()
    }
    await run(flavor.type)
  }
}
