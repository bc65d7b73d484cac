import Bigref
import Quiescence
import TestSupport
import Testing

@Suite struct BigrefTests {
  @Test func newCounterHasOnlyTheOwnersReference() {
    let count = Bigref()
    #expect(count.approximateCount == 0)
    #expect(count.isZero == false)
    #expect(count.tryAcquire() == true)
    #expect(count.approximateCount == 1)
    count.release()
    #expect(count.approximateCount == 0)
    #expect(count.isZero == false, "the owner holds it")
  }

  @Test func killedUnusedCounterIsZeroAtOnce() async {
    let count = Bigref()
    await count.kill()
    #expect(count.isZero == true)
    #expect(count.tryAcquire() == false)
    await count.zero()
    let isZero = await onThread { [count = Shared(count)] in count.value.waitForZero() }
    #expect(isZero)
  }

  @Test func lastReleaseBringsTheCountToZero() async {
    let count = Bigref()
    for _ in 0..<3 { count.acquire() }
    await count.kill()
    #expect(count.isZero == false)
    #expect(count.approximateCount == 3)
    count.release()
    count.release()
    #expect(count.approximateCount == 1)
    #expect(count.isZero == false)
    count.acquire()
    count.release()
    count.release()
    #expect(count.isZero == true)
  }

  @Test func referencesThatMoveBetweenProcessorsAddUp() async {
    let count = Shared(Bigref())
    // Acquired on some threads and released on others: single slots go below zero.
    await onThreads(4) { _ in for _ in 0..<10_000 { count.value.acquire() } }
    #expect(count.value.approximateCount == 40_000)
    await onThreads(3) { _ in for _ in 0..<10_000 { count.value.release() } }
    await count.value.kill()
    #expect(count.value.approximateCount == 10_000)
    await onThreads(1) { _ in for _ in 0..<10_000 { count.value.release() } }
    #expect(count.value.isZero == true)
  }

  @Test func zeroResumesSuspendedTasks() async {
    let count = Shared(Bigref())
    count.value.acquire()
    await count.value.kill()
    let woken = Counter()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<3 {
        group.addTask {
          await count.value.zero()
          #expect(count.value.isZero == true)
          woken.add(1)
        }
      }
      group.addTask { await onThreads { _ in count.value.release() } }
    }
    #expect(woken.value == 3)
  }

  @Test func zeroWakesABlockedThread() async {
    let count = Shared(Bigref())
    let isWaiting = Parker()
    count.value.acquire()
    await onThreads(2) { index in
      if index == 0 {
        count.value.kill()
        #expect(count.value.waitForZero(atMost: .zero) == false)
        isWaiting.open()
        #expect(count.value.waitForZero() == true)
      } else {
        isWaiting.wait()
        count.value.release()
      }
    }
  }

  @Test func resurrectedCounterCountsAgain() async {
    let count = Bigref()
    count.acquire()
    await count.kill()
    #expect(count.tryAcquireLive() == false)
    count.resurrect()
    #expect(count.approximateCount == 1)
    #expect(count.tryAcquire() == true)
    count.release()
    count.release()
    #expect(count.isZero == false)
    await count.kill()
    #expect(count.isZero == true)
  }
}
