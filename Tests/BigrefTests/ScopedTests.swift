import Bigref
import Glibc
import TestSupport
import Testing

/// `withReference` acquires, runs its closure, and releases, however the closure ends.
@Suite struct ScopedTests {
  struct Refused: Error {}

  @Test func referenceIsHeldWhileTheClosureRuns() {
    let count = Bigref()
    let inside = count.withReference { count.approximateCount }
    #expect(inside == 1)
    #expect(count.approximateCount == 0)
  }

  @Test func referenceIsReleasedAfterAnError() {
    let count = Bigref()
    #expect(throws: Refused.self) { try count.withReference { () throws(Refused) in throw Refused() } }
    #expect(count.approximateCount == 0)
  }

  @Test func killedCounterDoesNotRunTheClosure() async {
    let count = Bigref()
    count.acquire()
    await count.kill()
    var hasRun = false
    let result: Void? = count.withReference { hasRun = true }
    #expect(result == nil)
    #expect(!hasRun)
    // Still held by the reference from before.
    #expect(count.isZero == false)
    count.release()
    #expect(count.isZero == true)
  }

  @Test func noncopyableResultIsReturned() {
    struct Token: ~Copyable { let number: Int }
    let count = Bigref()
    let token = count.withReference { Token(number: 7) }
    switch consume token {
    case .some(let token): #expect(token.number == 7)
    case .none: Issue.record("the counter is live")
    }
  }

  @Test func killWaitsForAClosureThatIsSuspended() async {
    let count = Shared(Bigref()), isInside = AsyncEvent(), mayLeave = AsyncEvent()
    let user = Task {
      await count.value.withReference {
        isInside.open()
        await mayLeave.wait()
        return count.value.isZero
      }
    }
    await isInside.wait()
    await count.value.kill()
    #expect(count.value.isZero == false)
    let late: Void? = await count.value.withReference { await Task.yield() }
    #expect(late == nil)
    mayLeave.open()
    #expect(await user.value == false)
    await count.value.zero()
  }

  /// Two threads whose calls overlap: each leaves only when the other one has entered again.
  ///
  /// Mutant: `tryAcquire` in place of `tryAcquireLive`. Then one of them is always inside.
  @Test func countComesToZeroWhileThreadsKeepCalling() async {
    let count = Shared(Bigref()), isOver = Counter(), refusals = Counter()
    let entries = [Counter(), Counter()]
    let isZero = Counter()
    await onThreads(3) { index in
      if index == 2 {
        while entries[1].value < 100 { sched_yield() }
        count.value.kill()
        isZero.add(count.value.waitForZero(atMost: .seconds(30)) ? 1 : 0)
        isOver.add(1)
        return
      }
      while isOver.value == 0 {
        let hasRun: Void? = count.value.withReference {
          let mine = entries[index].add(1)
          while entries[1 - index].value < mine + index, refusals.value + isOver.value == 0 { sched_yield() }
        }
        if hasRun == nil {
          refusals.add(1)
          return
        }
      }
    }
    #expect(isZero.value == 1)
    #expect(refusals.value >= 1)
  }
}
