import Quiescence
import TestSupport
import Testing

/// Misuse that the compiler cannot see ends the process with one line that names the rule.
@Suite struct MisuseTests {
  @Test func synchronizeInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Memb.read { _ in Memb.synchronize() } }
    }
    #expect(
      result.trap == "Memb.synchronize() inside a Memb read-side critical section: it would wait for itself")
  }

  @Test func barrierInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Memb.read { _ in Memb.barrier() } }
    }
    #expect(
      result.trap == "Memb.barrier() inside a Memb read-side critical section: it would wait for itself")
  }

  @Test func barrierInsideACallbackTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      Memb.retire { Memb.barrier() }
      await Memb.barrier()
    }
    #expect(result.trap == "Memb.barrier() inside a retired callback: it would wait for itself")
  }

  @Test func synchronizeWhileOnlineTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.synchronize() } }
    }
    #expect(
      result.trap == "QSBR.synchronize() inside a QSBR read-side critical section: it would wait for itself")
  }

  @Test func qsbrReadOfAnOfflineThreadTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in _ = RCUBox(1, flavor: QSBR.self).snapshot() }
    }
    #expect(result.trap == "QSBR read on a thread that is not online: read inside QSBR.withOnlineReader")
  }

  @Test func qsbrReadInsideOfflineTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let box = RCUBox(1, flavor: QSBR.self)
        QSBR.withOnlineReader { reader in reader.offline { _ = box.snapshot() } }
      }
    }
    #expect(result.trap == "QSBR read on a thread that is not online: read inside QSBR.withOnlineReader")
  }

  @Test func goingOnlineTwiceTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.withOnlineReader { _ in } } }
    }
    #expect(result.trap == "QSBR.withOnlineReader on a thread that is online already: use the outer reader")
  }

  @Test func threadThatEndsInsideASectionTraps() async {
    let memb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(Memb.self)
    }
    #expect(memb.trap == "a thread ended inside a Memb read-side critical section: leave every section first")
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(MB.self)
    }
    #expect(mb.trap == "a thread ended inside an MB read-side critical section: leave every section first")
    let bulletproof = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(Bulletproof.self)
    }
    #expect(
      bulletproof.trap
        == "a thread ended inside a Bulletproof read-side critical section: leave every section first")
  }

  private static func endInside<F: Flavor>(_ flavor: F.Type) async -> Never {
    await onThreads { _ in _ = F.unsafeEnter() }
    while true { await Task.yield() }
  }

  @Test func synchronizeInsideASectionOfOtherFlavorsTraps() async {
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in MB.read { _ in MB.synchronize() } }
    }
    #expect(mb.trap == "MB.synchronize() inside a MB read-side critical section: it would wait for itself")
    let bulletproof = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Bulletproof.read { _ in Bulletproof.barrier() } }
    }
    #expect(
      bulletproof.trap
        == "Bulletproof.barrier() inside a Bulletproof read-side critical section: it would wait for itself")
  }

  /// Leaving more sections than were entered, or on another thread than the one that entered.
  @Test func leaveWithoutEnterTraps() async {
    let memb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        Memb.read { _ in }
        Memb.unsafeLeave()
      }
    }
    #expect(memb.trap == "Memb.unsafeLeave() on a thread that is in no Memb read-side critical section")
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in MB.unsafeLeave() }
    }
    #expect(mb.trap == "MB.unsafeLeave() on a thread that is in no MB read-side critical section")
    let bulletproof = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { index in
        // Entered on one thread and left on another.
        Bulletproof.unsafeEnter()
        let other = Parker()
        _ = ServiceThread.start(named: "other") {
          Bulletproof.unsafeLeave()
          other.open()
        }
        other.wait()
        Bulletproof.unsafeLeave()
      }
    }
    #expect(
      bulletproof.trap
        == "Bulletproof.unsafeLeave() on a thread that is in no Bulletproof read-side critical section")
  }
}
