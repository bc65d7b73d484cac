import Glibc
import TestSupport
import Testing

@testable import Quiescence

/// Threads that retire and end. What they leave is work for the runner alone, and once.
@Suite(.exclusive) struct EndedThreadTests {
  /// A reclaimer that is never idle forgets them too.
  @Test func queueOfAnEndedThreadGoesWithItsLastCallback() async {
    await onThread {
      let reclaimer = RCUReclaimer(named: "busy", Memb.self)
      let again = Again(reclaimer)
      again.run()
      let ran = Counter()
      for _ in 0..<200 { joinThreads(1) { reclaimer.retire { ran.add(1) } } }
      while ran.value < 200 { Processor.yield() }
      // A later round: the one that ran the last of them is over.
      again.waitForRounds(3)
      // This thread's and the runner's own.
      #expect(reclaimer.core.state.withLock { $0.queues.count } <= 2)
      again.end()
      reclaimer.barrier()
      #expect(reclaimer.statistics.queued == 0)
      #expect(reclaimer.core.state.withLock { $0.left.count } == 0)
    }
  }

  /// A callback that retires itself again.
  private final class Again: Sendable {
    private let reclaimer: RCUReclaimer
    private let isEnding = Counter()
    private let rounds = Counter()

    init(_ reclaimer: RCUReclaimer) { self.reclaimer = reclaimer }

    func run() {
      rounds.add(1)
      if isEnding.value == 0 { reclaimer.retire { self.run() } }
    }

    func end() { isEnding.add(1) }

    func waitForRounds(_ count: Int) {
      let last = rounds.value + count
      while rounds.value < last { Processor.yield() }
    }
  }

  /// A thread that asks for room looks at the queues of living threads alone.
  @Test func manyEndedThreadsAreNoWorkForOneThatAsks() async {
    await onThread {
      let reclaimer = RCUReclaimer(named: "full", Memb.self, limit: RetireLimit(300, .refuse))
      let ran = Counter()
      Memb.read { _ in
        for _ in 0..<300 { joinThreads(1) { reclaimer.retire { ran.add(1) } } }
        let state = reclaimer.core.state.withLock { $0 }
        // One after the other, they have shared a queue.
        #expect(state.listed.isEmpty && state.left.count == 1 && state.leftCount == 300)
        #expect(state.queues.count == 1)
        #expect(state.reserved == 300)
        #expect(reclaimer.statistics.queued == 300)
        #expect(throws: RetireError.self) { try reclaimer.tryRetire(ran) }
        #expect(reclaimer.statistics.highWater == 300)
      }
      reclaimer.barrier()
      #expect(ran.value == 300)
      #expect(reclaimer.statistics.queued == 0 && reclaimer.statistics.run == 300)
      let state = reclaimer.core.state.withLock { $0 }
      #expect(state.left.isEmpty && state.leftCount == 0)
      // Room for as many again.
      for _ in 0..<300 { joinThreads(1) { reclaimer.retire { ran.add(1) } } }
      reclaimer.barrier()
      #expect(ran.value == 600)
    }
  }

  /// Threads that live at the same time have queues of their own; what they leave is continued by
  /// later threads, in order, while the runner runs it.
  @Test func laterThreadsContinueTheQueuesOfEndedOnes() async {
    let reclaimer = RCUReclaimer(named: "continued", Memb.self, limit: RetireLimit(1 << 20, .wait))
    let order = Locked<[[Int]]>(Array(repeating: [], count: 400))
    let (threads, entries) = (4, 100)
    for round in 0..<100 {
      await onThreads(threads) { index in
        let number = round * threads + index
        for entry in 0..<entries {
          reclaimer.retire { order.withLock { $0[number].append(entry) } }
        }
      }
      #expect(reclaimer.core.state.withLock { $0.queues.count } <= 2 * threads)
    }
    await reclaimer.barrier()
    #expect(order.withLock { $0.allSatisfy { $0 == Array(0..<entries) } })
    let state = reclaimer.core.state.withLock { $0 }
    #expect(state.leftCount == 0 && state.reserved >= 0)
    #expect(reclaimer.statistics.run == 100 * threads * entries)
  }
}
