import Quiescence
import TestSupport
import Testing

/// A task that retires into a full reclaimer suspends: its executor's thread goes on with other
/// tasks.
@Suite(.exclusive) struct RetireSuspendingTests {
  /// One thread for all tasks: a task that blocked it would keep the next one from opening the
  /// section that the grace period waits for.
  @Test(arguments: [RetireLimit.Policy.wait, .synchronizeInline, .refuse])
  func otherTasksOfTheThreadGoOn(_ policy: RetireLimit.Policy) async {
    let reclaimer = RCUReclaimer(named: "suspends", Memb.self, limit: RetireLimit(10, policy))
    let executor = OneThread()
    let reader = await ParkedReader()
    let alive = Counter(), most = Counter()
    let producer = Task(executorPreference: executor) {
      for number in 0..<1000 {
        await reclaimer.retireSuspending(Tracked(number, alive: alive))
        if alive.value > most.value { most.add(alive.value - most.value) }
      }
    }
    let opener = Task(executorPreference: executor) {
      while reclaimer.statistics.queued < 10 { await Task.yield() }
      reader.leave()
    }
    await opener.value
    await producer.value
    await reclaimer.barrier()
    await reader.hasLeft()
    #expect(alive.value == 0)
    #expect(most.value <= 10)
    #expect(reclaimer.statistics.run == 1000)
  }

  /// Tasks on several threads, and threads, share the room; each kind of retire loses nothing.
  @Test func tasksAndThreadsShareTheRoom() async {
    let reclaimer = RCUReclaimer(named: "shared", Memb.self, limit: RetireLimit(4, .wait))
    let ran = Counter()
    let alive = Counter()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<8 {
        group.addTask {
          for number in 0..<200 {
            await reclaimer.retireSuspending { ran.add(1) }
            await reclaimer.retireSuspending(Tracked(number, alive: alive))
            await reclaimer.retireValueSuspending(number)
          }
        }
      }
      group.addTask {
        await onThreads(2) { _ in for _ in 0..<500 { reclaimer.retire { ran.add(1) } } }
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 8 * 200 + 1000)
    #expect(alive.value == 0)
    #expect(reclaimer.statistics.run == 8 * 600 + 1000)
    #expect(reclaimer.statistics.highWater <= 4)
  }

  /// Room that idle threads were granted and do not use is room: nothing else would wake the task.
  @Test func grantsOfIdleThreadsAreRoom() async {
    let reclaimer = RCUReclaimer(named: "idle", Memb.self, limit: RetireLimit(100, .wait))
    let isOver = Parker(), ready = Counter()
    let inside = Parker(), leave = Parker()
    let threads = Task {
      await onThreads(5) { index in
        if index == 4 {
          Memb.read { _ in
            inside.open()
            leave.wait()
          }
          return
        }
        reclaimer.retire {}
        ready.add(1)
        isOver.wait()
      }
    }
    await onThread {
      inside.wait()
      while ready.value < 4 { Processor.yield() }
    }
    // Behind an open section nothing runs: 96 fit only where others have room that they do not use.
    for _ in 0..<96 { await reclaimer.retireSuspending {} }
    leave.open()
    await reclaimer.retireSuspending {}
    await reclaimer.barrier()
    #expect(reclaimer.statistics.run == 101)
    isOver.open()
    await threads.value
  }
}
