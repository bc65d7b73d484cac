import Quiescence
import TestSupport
import Testing

/// Misuse that the compiler cannot see ends the process with one line that names the rule.
@Suite struct MisuseTests {
  private func line(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
  }

  @Test func synchronizeInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Memb.read { _ in Memb.synchronize() } }
    }
    #expect(line(result).contains("Memb.synchronize() inside a Memb read-side critical section"))
  }

  @Test func barrierInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Memb.read { _ in Memb.barrier() } }
    }
    #expect(line(result).contains("Memb.barrier() inside a Memb read-side critical section"))
  }

  @Test func barrierInsideACallbackTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      Memb.retire { Memb.barrier() }
      await Memb.barrier()
    }
    #expect(line(result).contains("Memb.barrier() inside a retired callback"))
  }

  @Test func synchronizeWhileOnlineTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.synchronize() } }
    }
    #expect(line(result).contains("QSBR.synchronize() inside a QSBR read-side critical section"))
  }

  @Test func qsbrReadOfAnOfflineThreadTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in _ = RCUBox(1, flavor: QSBR.self).snapshot() }
    }
    #expect(line(result).contains("read inside QSBR.withOnlineReader"))
  }

  @Test func qsbrReadInsideOfflineTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        let box = RCUBox(1, flavor: QSBR.self)
        QSBR.withOnlineReader { reader in reader.offline { _ = box.snapshot() } }
      }
    }
    #expect(line(result).contains("read inside QSBR.withOnlineReader"))
  }

  @Test func goingOnlineTwiceTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.withOnlineReader { _ in } } }
    }
    #expect(line(result).contains("online already: use the outer reader"))
  }

  @Test func threadThatEndsInsideASectionTraps() async {
    let memb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(Memb.self)
    }
    #expect(line(memb).contains("a thread ended inside a Memb read-side critical section"))
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(MB.self)
    }
    #expect(line(mb).contains("a thread ended inside an MB read-side critical section"))
    let bulletproof = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await Self.endInside(Bulletproof.self)
    }
    #expect(line(bulletproof).contains("a thread ended inside a Bulletproof read-side critical section"))
  }

  private static func endInside<F: Flavor>(_ flavor: F.Type) async -> Never {
    await onThreads { _ in F.unsafeEnter() }
    while true { await Task.yield() }
  }

  @Test func synchronizeInsideASectionOfOtherFlavorsTraps() async {
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in MB.read { _ in MB.synchronize() } }
    }
    #expect(line(mb).contains("MB.synchronize() inside a MB read-side critical section"))
    let bulletproof = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in Bulletproof.read { _ in Bulletproof.barrier() } }
    }
    #expect(
      line(bulletproof).contains("Bulletproof.barrier() inside a Bulletproof read-side critical section"))
  }

  /// Leaving more sections than were entered, or on another thread than the one that entered.
  @Test func leaveWithoutEnterTraps() async {
    let memb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        Memb.read { _ in }
        Memb.unsafeLeave()
      }
    }
    #expect(
      line(memb).contains("Memb.unsafeLeave() on a thread that is in no Memb read-side critical section"))
    let mb = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in MB.unsafeLeave() }
    }
    #expect(line(mb).contains("MB.unsafeLeave() on a thread that is in no MB read-side critical section"))
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
    #expect(line(bulletproof).contains("Bulletproof.unsafeLeave() on a thread that is in no Bulletproof"))
    let qsbr = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in QSBR.withOnlineReader { _ in QSBR.unsafeLeave() } }
    }
    #expect(
      line(qsbr).contains("QSBR.unsafeLeave() on a thread that is in no QSBR read-side critical section"))
  }
}
