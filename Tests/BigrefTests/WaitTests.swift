import Glibc
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// Waiting for zero, and giving up on it. The defects of the historical counters, one by one: see each.
@Suite struct WaitTests {
  /// Two waiters: in 2002 the second overwrote the first, which slept for ever.
  @Test func manyThreadsAndTasksWait() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let woken = Counter()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<3 {
        group.addTask {
          await count.value.zero(); woken.add(1)
        }
        group.addTask {
          try? await count.value.zeroUnlessCancelled(); woken.add(1)
        }
      }
      group.addTask {
        await onThreads(4) { index in
          if index > 0 {
            #expect(count.value.waitForZero() == true)
          } else {
            while count.value.storage.waiterCount < 9 { _ = sched_yield() }
            count.value.release()
          }
          woken.add(1)
        }
      }
    }
    #expect(woken.value == 10)
  }

  /// The last release comes just when somebody starts to wait: in 2002 it saw no waiter, and the waiter no zero.
  @Test func theWakeupIsNeverLost() async {
    let counts = Shared(Locked<Shared<Bigref>?>(nil))
    let rounds = 3000
    let turn = Counter()
    await onThreads(2) { index in
      for round in 0..<rounds {
        if index == 0 {
          let count = Shared(Bigref())
          count.value.acquire()
          count.value.beginKill()
          if Storage.needsGracePeriod { Memb.synchronize() }
          count.value.confirmKill()
          count.value.releaseOwner()
          counts.value.withLock { $0 = count }
          turn.add(1)
          #expect(count.value.waitForZero(atMost: .seconds(60)) == true)
        } else {
          while turn.value <= round { _ = sched_yield() }
          counts.value.withLock { $0! }.value.release()
        }
      }
    }
  }

  /// A wait that is given up takes nothing along, and nothing of it stays: in October 2002 a later release woke whoever
  /// had been interrupted, in the middle of something else.
  @Test func aWaitThatTimesOutLeavesNothing() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let isZero = await onThread { count.value.waitForZero(atMost: .milliseconds(1)) }
    #expect(isZero == false)
    #expect(count.value.storage.waiterCount == 0)
    count.value.release()
    #expect(await onThread { count.value.waitForZero(atMost: .zero) } == true)
  }

  @Test func aThreadsWaitIsCancelled() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let cancellation = WaitCancellation()
    let others = WaitCancellation()
    await onThreads(3) { index in
      switch index {
      case 0:
        #expect(count.value.waitForZero(cancelledBy: cancellation) == .cancelled)
        // The other still waits; now it may go.
        #expect(count.value.storage.waiterCount == 1)
        count.value.release()
      case 1: #expect(count.value.waitForZero(cancelledBy: others) == .zero)
      default:
        while count.value.storage.waiterCount < 2 { _ = sched_yield() }
        cancellation.cancel()
      }
    }
    #expect(cancellation.isCancelled == true)
    #expect(others.isCancelled == false)
    // Zero wins, and a wait that begins cancelled ends at once.
    let ends = await onThread { () -> [ZeroWait] in
      let busy = Bigref()
      return [
        count.value.waitForZero(cancelledBy: cancellation), busy.waitForZero(cancelledBy: cancellation),
        busy.waitForZero(atMost: .zero, cancelledBy: others),
      ]
    }
    #expect(ends == [.zero, .cancelled, .timedOut])
  }

  @Test func aTasksWaitIsCancelled() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let task = Task { try await count.value.zeroUnlessCancelled() }
    let other = Task { await count.value.zero() }
    while count.value.storage.waiterCount < 2 { await Task.yield() }
    task.cancel()
    // Whoever must not pass before zero is not let through by a cancellation.
    other.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(count.value.storage.waiterCount == 1)
    count.value.release()
    await other.value
    #expect(count.value.storage.waiterCount == 0)
  }

  /// Cancelled and released at the same time: either way the wait ends, and says which; nobody else's wakeup is lost.
  @Test func cancellationsRaceWithZero() async throws {
    for _ in 0..<300 {
      let count = Shared(Bigref())
      count.value.acquire()
      await count.value.kill()
      let cancellation = WaitCancellation()
      let task = Task { try await count.value.zeroUnlessCancelled() }
      await onThreads(4) { index in
        switch index {
        case 0: #expect(count.value.waitForZero(cancelledBy: cancellation) != .timedOut)
        case 1: cancellation.cancel()
        case 2: count.value.release(); task.cancel()
        default: #expect(count.value.waitForZero() == true)
        }
      }
      _ = try? await task.value
      #expect(count.value.storage.waiterCount == 0)
    }
  }
}
