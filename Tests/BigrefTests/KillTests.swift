import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import Bigref

@Suite struct KillTests {
  @Test func tryAcquireSucceedsOnAKilledCounterThatIsHeld() async {
    let count = Bigref()
    count.acquire()
    await count.kill()
    #expect(count.tryAcquireLive() == false)
    #expect(count.tryAcquire() == true)
    #expect(count.approximateCount == 2)
    count.release()
    count.release()
    #expect(count.isZero == true)
    #expect(count.tryAcquire() == false)
    // Rusty Russell's counter of 2004 returned to its fast mode at zero: a late acquire counted on
    // freed memory.
    #expect(count.tryAcquireLive() == false)
    #expect(count.isZero == true)
  }

  @Test func tryAcquireLiveMaySucceedUntilTheKillIsConfirmed() {
    let count = Bigref()
    #expect(count.tryAcquireLive() == true)
    count.beginKill()
    #expect(count.isZero == false)
    #expect(count.tryAcquire() == true)
    #expect(count.approximateCount == 2)
    if Storage.needsGracePeriod { Memb.synchronize() }
    count.confirmKill()
    #expect(count.tryAcquireLive() == false)
    #expect(count.approximateCount == 2)
    count.release()
    count.release()
    #expect(count.isZero == false, "the owner holds it")
    count.releaseOwner()
    #expect(count.isZero == true)
  }

  @Test func killCallsBackAfterItsConfirmation() async {
    let count = Shared(Bigref())
    count.value.acquire()
    let wasLive = Counter(-1)
    await suspended { (continuation: Suspended<Void>) in
      count.value.kill {
        wasLive.add(count.value.tryAcquireLive() ? 2 : 1)
        continuation.resume()
      }
    }
    #expect(wasLive.value == 0)
    #expect(count.value.isZero == false)
    count.value.release()
    #expect(count.value.isZero == true)
  }

  @Test(.exclusive) func batchSharesOneBarrier() async {
    let counts = (0..<1000).map { _ in Shared(Bigref()) }
    for (index, count) in counts.enumerated() where index % 2 == 0 { count.value.acquire() }
    let before = Bigref.statistics.barriers
    var batch = KillBatch()
    for count in counts { batch.add(count.value) }
    #expect(batch.count == 1000)
    await batch.confirm()
    #expect(batch.count == 0)
    let barriers = Bigref.statistics.barriers - before
    // Tests of modules kill counters at the same time, but not a thousand.
    #expect(barriers < 100)
    #expect(barriers >= (ProcessorCell.isRestartable ? 1 : 0))
    for (index, count) in counts.enumerated() {
      #expect(count.value.isZero == (index % 2 == 1))
      if index % 2 == 0 { count.value.release() }
      #expect(count.value.isZero == true)
    }
  }

  /// A barrier that started before a kill does not confirm it. A barrier that another kill has
  /// issued since then does.
  @Test func killNeedsABarrierThatStartedAfterIt() async {
    let first = Bigref(), second = Bigref()
    first.beginKill()
    second.beginKill()
    let before = Bigref.statistics.barriers
    if Storage.needsGracePeriod { await Memb.synchronize() }
    first.confirmKill()
    second.confirmKill()
    let third = Bigref()
    third.beginKill()
    let between = Bigref.statistics.barriers
    let number = third.storage.state.pointee.barrier
    if Storage.needsGracePeriod {
      #expect(between == 0)
      #expect(number == 0)
      await Memb.synchronize()
    } else {
      // At least: other tests kill counters at the same time.
      #expect(between > before)
      #expect(number > between || Bigref.statistics.barriers > between)
      #expect(second.storage.state.pointee.barrier <= between)
    }
    third.confirmKill()
    #expect(Bigref.statistics.barriers >= number)
    first.releaseOwner()
    second.releaseOwner()
    third.releaseOwner()
  }

  /// A release has brought the count to zero, but has not woken the waiters yet, when the owner
  /// resurrects the counter. The release must not wake the waiters for the next zero. (The counter
  /// of October 2002 woke an outdated waiter.)
  @Test func lateReleaseWakesNoWaiterAfterResurrection() async {
    let count = Bigref()
    await count.kill()
    let storage = count.storage
    let old = Counter()
    #expect(storage.atZero(.call { old.add(1) }) == nil)
    #expect(old.value == 1)
    count.resurrect()
    count.acquire()
    await count.kill()
    let early = Counter()
    let first = Counter()
    _ = storage.atZero(.call { first.add(1) })
    // The release, up to zero.
    storage.state.pointee.count.subtract(1, ordering: .sequentiallyConsistent)
    #expect(first.value == 0)
    count.resurrect()
    #expect(first.value == 1, "zero had come")
    _ = storage.atZero(.call { early.add(1) })
    // The rest of the release.
    storage.reachedZero()
    #expect(early.value == 0)
    await count.kill()
    #expect(early.value == 1)
  }

  @Test func waitersKeepWaitingAfterResurrection() async {
    let count = Bigref()
    count.acquire()
    await count.kill()
    let woken = Counter()
    _ = count.storage.atZero(.call { woken.add(1) })
    count.resurrect()
    count.release()
    #expect(woken.value == 0)
    await count.kill()
    #expect(woken.value == 1)
  }

  private static func destroyedCounter() async -> Storage {
    let storage = Bigref().storage
    await Memb.barrier()
    return storage
  }
}
