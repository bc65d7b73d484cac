import Glibc
import Quiescence
import TestSupport
import Testing

/// A task that waits at the fork goes on in the parent, and never in the child.
@Suite(.exclusive) struct ForkedTaskTests {
  /// A task that waits goes on in the parent alone, whatever the child does to what it waits for.
  @Test func tasksThatWaitInTheParentDoNotResumeInTheChild() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let executor = CountingExecutor()
      let domain = Shared(SleepableDomain())
      let own = RCUReclaimer(named: "own", Memb.self)
      let done = Counter(), rounds = Counter()
      let waits: [@Sendable () async -> Void] = [
        { await Memb.synchronize() }, { await own.barrier() }, { await domain.value.synchronize() },
      ]
      let tasks = waits.map { wait in
        Task(executorPreference: executor) {
          while done.value == 0 {
            own.retire {}
            await wait()
            rounds.add(1)
          }
        }
      }
      await onThread {
        for round in 0..<20 {
          let before = rounds.value
          while rounds.value < before + 10 { sched_yield() }
          let child = Forked.run {
            let before = executor.jobs.value
            Memb.synchronize()
            own.barrier()
            domain.value.synchronize()
            return executor.jobs.value == before ? 0 : 1
          }
          if child != .exited(0) { fatalError("round \(round): a child resumed a task, or \(child)") }
        }
        done.add(1)
      }
      for task in tasks { await task.value }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// The child leaves the section that the grace period waits for.
  @Test func tasksThatWaitForASectionDoNotResumeInTheChildThatLeavesIt() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let executor = CountingExecutor()
      let domain = Shared(SleepableDomain())
      let inside = Parker(), leave = Parker(), over = Parker()
      _ = ServiceThread.start(named: "forks") {
        let child = domain.value.read { _ in
          inside.open()
          leave.wait()
          return Forked.fork()
        }
        if child == 0 { _exit(Int32(executor.jobs.value)) }
        precondition(Forked.wait(for: child) == .exited(1), "a task has resumed in the child")
        over.open()
      }
      inside.wait()
      let task = Task(executorPreference: executor) { await domain.value.synchronize() }
      while !domain.value.isDraining { usleep(100) }
      leave.open()
      over.wait()
      await task.value
    }
    #expect(result != nil, "\(result.errorOutput)")
  }
}
