import Glibc
import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// Waiting for zero, and ending the wait early. The defects of the counters of 2002 are described
/// at the test for each.
@Suite struct WaitTests {
  /// With two waiters, in 2002 the second overwrote the first, which slept for ever.
  @Test func zeroWakesEveryWaiter() async {
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

  /// The last release comes at the moment when a thread starts to wait. In 2002, neither saw the
  /// other, and the waiter slept for ever.
  @Test func wakeupIsNeverLost() async {
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

  /// A wait that has ended leaves no entry on the list. In October 2002, a later release woke the
  /// interrupted thread in the middle of something else.
  @Test func timedOutWaitIsRemovedFromTheList() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let isZero = await onThread { count.value.waitForZero(atMost: .milliseconds(1)) }
    #expect(isZero == false)
    #expect(count.value.storage.waiterCount == 0)
    count.value.release()
    #expect(await onThread { count.value.waitForZero(atMost: .zero) } == true)
  }

  @Test func cancellationEndsAThreadsWait() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let cancellation = WaitCancellation()
    let others = WaitCancellation()
    await onThreads(3) { index in
      switch index {
      case 0:
        #expect(count.value.waitForZero(cancelledBy: cancellation) == .cancelled)
        // The other thread still waits; the release ends its wait.
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
    // Zero takes precedence, and a wait that is cancelled before it begins ends at once.
    let ends = await onThread { () -> [Bigref.WaitResult] in
      let busy = Bigref()
      return [
        count.value.waitForZero(cancelledBy: cancellation), busy.waitForZero(cancelledBy: cancellation),
        busy.waitForZero(atMost: .zero, cancelledBy: others),
      ]
    }
    #expect(ends == [.zero, .cancelled, .timedOut])
  }

  @Test func cancellationEndsATasksWait() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let task = Task { try await count.value.zeroUnlessCancelled() }
    let other = Task { await count.value.zero() }
    while count.value.storage.waiterCount < 2 { await Task.yield() }
    task.cancel()
    // Cancellation does not end `zero()`, whose caller must not go on before zero.
    other.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(count.value.storage.waiterCount == 1)
    count.value.release()
    await other.value
    #expect(count.value.storage.waiterCount == 0)
  }

  /// Cancellation and release at the same time: the wait ends either way and reports which, and the
  /// other waiters are woken.
  @Test func cancellationRacingWithZeroLosesNoWakeup() async throws {
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
