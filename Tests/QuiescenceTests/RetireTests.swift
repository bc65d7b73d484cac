import Quiescence
import TestSupport
import Testing

@Suite(.exclusive) struct RetireTests {
  @Test(arguments: FlavorCase.all)
  func everyCallbackRunsOnceAndInItsThreadsOrder(_ flavor: FlavorCase) async {
    // More than a few segments of each thread's queue. Some threads end with pending callbacks.
    let perThread = 2000
    let last = Last()
    let ran = Counter()
    let disorder = Counter()
    for _ in 0..<3 {
      await onThreads(4) { index in
        for number in 1...perThread {
          flavor.type.retire {
            ran.add(1)
            if !last.follows(number % perThread, on: index) { disorder.add(1) }
          }
        }
      }
      await flavor.type.barrier()
    }
    #expect(ran.value == 3 * 4 * perThread)
    #expect(disorder.value == 0)
  }

  /// Each callback of a thread sees the number of the callback before it. All of them run on one
  /// thread, in turn.
  private final class Last: Sendable {
    private let numbers = (0..<4).map { _ in Counter() }

    func follows(_ number: Int, on index: Int) -> Bool {
      let before = numbers[index].value
      numbers[index].add(number - before)
      return number == before + 1 || number == 0
    }
  }

  /// A lost wakeup would leave the callback in its queue for ever: nothing else wakes the reclaimer
  /// here.
  ///
  /// The next callback is retired while the reclaimer is about to sleep, a little later in each
  /// round.
  @Test func singleCallbackIsNeverLost() async {
    let lost = await onThread {
      let pauses = Counter()
      for round in 0..<50_000 {
        let ran = Parker()
        for _ in 0..<(round % 256) { pauses.add(1) }
        Memb.retire { ran.open() }
        var looks = 0
        while !ran.isOpen && looks < 100_000 { looks += 1 }
        if !ran.wait(for: .seconds(120)) { return true }
      }
      return false
    }
    #expect(!lost)
  }

  @Test func callbacksMayRetireReadAndSynchronize() async {
    let box = Shared(RCUBox(0))
    for _ in 0..<100 {
      Memb.retire {
        box.value.update { $0 += 1 }
        Memb.read { _ in }
        Memb.synchronize()
        Memb.retire { box.value.update { $0 += 1 } }
      }
    }
    await Memb.barrier()
    #expect(box.value.snapshot() == 200)
  }

  @Test func retireInsideASectionDoesNotWait() async {
    let alive = Counter()
    await onThreads { _ in
      Memb.read { _ in
        for number in 0..<10_000 { Memb.retire(Tracked(number, alive: alive)) }
        #expect(alive.value == 10_000, "nothing is released while this section is open")
      }
    }
    await Memb.barrier()
    #expect(alive.value == 0)
  }

  @Test func callbacksOfEndedThreadsRun() async {
    let ran = Counter()
    for _ in 0..<100 {
      await onThreads(4) { _ in
        for flavor in FlavorCase.all { flavor.type.retire { ran.add(1) } }
      }
    }
    for flavor in FlavorCase.all { await flavor.type.barrier() }
    #expect(ran.value == 100 * 4 * 4)
  }
}
