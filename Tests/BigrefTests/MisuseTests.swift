import Quiescence
import TestSupport
import Testing

@testable import Bigref

/// Every trap of Bigref: the process ends with one line that names the broken rule.
@Suite struct MisuseTests {
  @Test func releaseBelowZeroTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      await count.kill()
      count.release()
    }
    #expect(result.trap == "Bigref.release() without a reference: the count fell below zero")
  }

  @Test func killTrapsAfterAReleaseWithoutReference() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.release()
      await count.kill()
    }
    #expect(result.trap == "Bigref.release() without a reference: the count fell below zero")
  }

  @Test func releaseUnderALabelWithoutReferenceTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref(recordingHolders: true)
      count.acquire(for: "reader")
      count.release(for: "writer")
    }
    #expect(result.trap == "Bigref.release(for:): the label \"writer\" holds no reference")
  }

  @Test func acquireAfterZeroTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      await count.kill()
      count.acquire()
    }
    #expect(result.trap == "Bigref.acquire() after the count reached zero: use tryAcquire()")
  }

  @Test func secondKillTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      await count.kill()
      await count.kill()
    }
    #expect(result.trap == "Bigref.kill() on a counter that was killed before")
  }

  @Test func confirmationWithoutKillTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.storage.addUp()
    }
    #expect(
      result.trap == "Bigref: a kill was confirmed that was not begun, or was confirmed before")
  }

  @Test func resurrectingALiveCounterTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      Bigref().resurrect()
    }
    #expect(
      result.trap == "Bigref.resurrect() on a counter that is live, or whose kill is not confirmed")
  }

  @Test func resurrectingDuringAKillTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.beginKill()
      count.resurrect()
    }
    #expect(
      result.trap == "Bigref.resurrect() on a counter that is live, or whose kill is not confirmed")
  }

  @Test func destroyingDuringAKillTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      count.beginKill()
    }
    #expect(
      result.trap == "a Bigref was destroyed during its kill: destroy it after the kill is confirmed")
  }

  @Test func useAfterDestructionTraps() async {
    let acquired = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.destroyedCounter().acquireSlowly(for: nil)
    }
    #expect(acquired.trap == "a Bigref was used after it was destroyed")

    let released = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let storage = await Self.destroyedCounter()
      precondition(storage.cell.add(-1) == false, "counted on a freed slot")
      storage.releaseSlowly(for: nil)
    }
    #expect(released.trap == "a Bigref was used after it was destroyed")
  }

  @Test func returningACellTwiceTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.destroyedCounter().cell.recycle()
    }
    #expect(result.trap?.contains("a counter is returned twice") == true, "\(result.errorOutput)")
  }

  @Test func destroyingAnUnconfirmedBatchTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let count = Bigref()
      var batch = KillBatch()
      batch.add(count)
    }
    #expect(
      result.trap == "a KillBatch was destroyed before confirm(): its counters would never reach zero"
    )
  }

  @Test func waitsInsideASectionTrap() async {
    let kill = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Memb.read { _ in Bigref().kill() } }
    }
    #expect(
      kill.trap == "Bigref.kill() inside a Memb read-side critical section: it could wait for itself")

    let wait = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let count = Bigref()
        Memb.read { _ in _ = count.waitForZero() }
      }
    }
    #expect(
      wait.trap
        == "Bigref.waitForZero() inside a Memb read-side critical section: it could wait for itself")

    let confirm = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let count = Bigref()
        var batch = KillBatch()
        batch.add(count)
        Memb.read { _ in batch.confirm() }
      }
    }
    #expect(
      confirm.trap
        == "KillBatch.confirm() inside a Memb read-side critical section: it could wait for itself")
  }

  private static func destroyedCounter() async -> Storage {
    let storage = Bigref().storage
    await Memb.barrier()
    return storage
  }
}
