import Quiescence
import Synchronization
import TestSupport
import Testing

@testable import Bigref

@Suite struct KillTests {
  @Test func aKilledCounterThatIsHeldCanBeAcquired() async {
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
    // The counter of 2004 went back to its fast mode at zero: a late reference was counted on freed memory.
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

  @Test func aKillIsConfirmedByACall() async {
    let count = Shared(Bigref())
    count.value.acquire()
    let wasLive = Counter(-1)
    await suspended { (continuation: UnsafeContinuation<Void, Never>) in
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

  @Test func aBatchPassesOneBarrier() async {
    let counts = (0..<1000).map { _ in Shared(Bigref()) }
    for (index, count) in counts.enumerated() where index % 2 == 0 { count.value.acquire() }
    let before = Bigref.statistics.barriers
    var batch = KillBatch()
    for count in counts { batch.add(count.value) }
    #expect(batch.count == 1000)
    await batch.confirm()
    #expect(batch.count == 0)
    let barriers = Bigref.statistics.barriers - before
    // Other tests kill counters meanwhile; not a thousand.
    #expect(barriers < 100)
    #expect(barriers >= (ProcessorCell.isRestartable ? 1 : 0))
    for (index, count) in counts.enumerated() {
      #expect(count.value.isZero == (index % 2 == 1))
      if index % 2 == 0 { count.value.release() }
      #expect(count.value.isZero == true)
    }
  }

  /// A barrier that started before a kill does not confirm it; one that another kill has passed since does.
  @Test func everyKillHasABarrierOfItsTime() async {
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
      // At least: other tests kill counters meanwhile.
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

  /// A release that has brought the count to zero, and has not come to waking, meets a counter that was resurrected: it
  /// must not wake those who wait for the next zero. (The October version of 2002 woke a stale waiter.)
  @Test func aLateReleaseWakesNobodyAfterAResurrection() async {
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

  @Test func thatWhichWaitsGoesOnWaitingAfterAResurrection() async {
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

  @Test func misuseTraps() async {
    let destroyed = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.beginKill()
    }
    #expect(destroyed.line.contains("a Bigref was destroyed while its kill was under way"))

    let acquired = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let storage = await Self.destroyedCounter()
      storage.acquireSlowly(for: nil)
    }
    #expect(acquired.line.contains("a Bigref was used after it was destroyed"))

    let released = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let storage = await Self.destroyedCounter()
      precondition(storage.cell.add(-1) == false, "counted on a freed slot")
      storage.releaseSlowly(for: nil)
    }
    #expect(released.line.contains("a Bigref was used after it was destroyed"))

    let dropped = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      var batch = KillBatch()
      batch.add(count)
    }
    #expect(dropped.line.contains("a KillBatch was dropped before it was confirmed"))

    let confirmed = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.storage.addUp()
    }
    #expect(confirmed.line.contains("a kill was confirmed that was not begun"))

    let below = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.release()
      await count.kill()
    }
    #expect(below.line.contains("the count fell below zero"))

    let returned = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let storage = await Self.destroyedCounter()
      storage.cell.recycle()
    }
    #expect(returned.line.contains("a counter is returned twice"))
  }

  private static func destroyedCounter() async -> Storage {
    let storage = Bigref().storage
    await Memb.barrier()
    return storage
  }
}

extension ExitTest.Result? {
  /// What the process said at its end.
  var line: String { String(decoding: self?.standardErrorContent ?? [], as: UTF8.self) }
}
