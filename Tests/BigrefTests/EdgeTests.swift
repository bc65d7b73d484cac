import Foundation
import ProcessEdges
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// Forked children, and threads that do not count by restartable sequences.
@Suite(.exclusive) struct EdgeTests {
  /// A task that waits for zero goes on in the parent alone.
  @Test func forkedChildThatReachesZeroResumesNoTaskOfItsParent() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let executor = CountingExecutor()
      let counts = (0..<2).map { _ in Shared(Bigref()) }
      for count in counts { count.value.acquire() }
      let tasks = [
        Task(executorPreference: executor) { await counts[0].value.zero() },
        // The task is not cancelled.
        Task(executorPreference: executor) { try! await counts[1].value.zeroUnlessCancelled() },
      ]
      while counts.contains(where: { $0.value.storage.waiterCount == 0 }) { usleep(100) }
      await onThread {
        for count in counts { count.value.kill() }
        let child = Forked.run {
          let before = executor.jobs.value
          for count in counts { count.value.release() }
          return counts.allSatisfy { $0.value.isZero } && executor.jobs.value == before ? 0 : 1
        }
        if child != .exited(0) { fatalError("a child resumed a task, or \(child)") }
        for count in counts { count.value.release() }
      }
      for task in tasks { await task.value }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// Threads without restartable sequences, and threads on processors whose number has no slot,
  /// count beside others.
  @Test func countsAreExactWhateverTheProcessorsNumber() async {
    for _ in 0..<50 {
      let count = Shared(Bigref()), killed = Counter(), operations = Counter()
      await onThreads(5) { index in
        if index == 0 {
          while operations.value < 400 { sched_yield() }
          count.value.kill()
          killed.add(1)
          return
        }
        if index < 4 { _ = leave_restartable_sequences([.max, 70_000, 1 << 31][index - 1]) }
        var own = 0
        while killed.value == 0 {
          operations.add(1)
          if own < 100 && count.value.tryAcquire() {
            own += 1
          } else if own > 0 {
            count.value.release()
            own -= 1
          }
        }
        for _ in 0..<own { count.value.release() }
      }
      let isZero = count.value.isZero
      #expect(isZero)
    }
  }
}
