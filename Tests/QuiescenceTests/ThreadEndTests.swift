import Glibc
import ProcessEdges
import Quiescence
import TestSupport
import Testing

/// Threads that read in the destructors of pthread keys, when this library's own destructor may
/// have run before.
///
/// Each in a process of its own, whose keys and readers are the test's.
@Suite(.exclusive) struct ThreadEndTests {
  /// A key's number decides whether its destructor runs before this library's or after it. The
  /// first 32 are in the thread itself.
  private enum Key { case amongTheFirst, beyondTheFirst }

  @Test func destructorsReadInEveryRoundUnderMemb() async {
    await #expect(processExitsWith: .success) { await onThread { ThreadEndTests.readAtTheEnd(Memb.self) } }
  }

  @Test func destructorsReadInEveryRoundUnderMB() async {
    await #expect(processExitsWith: .success) { await onThread { ThreadEndTests.readAtTheEnd(MB.self) } }
  }

  @Test func destructorsReadInEveryRoundUnderBulletproof() async {
    await #expect(processExitsWith: .success) {
      await onThread { ThreadEndTests.readAtTheEnd(Bulletproof.self) }
    }
  }

  @Test func destructorsReadInEveryRoundUnderQSBR() async {
    await #expect(processExitsWith: .success) { await onThread { ThreadEndTests.readAtTheEnd(QSBR.self) } }
  }

  private static func readAtTheEnd<F: Flavor>(_ flavor: F.Type) {
    for key in [Key.amongTheFirst, .beyondTheFirst] {
      if key == .beyondTheFirst { use_up_keys(40) }
      let key = make_destructor_key()
      for rounds in 1...4 {
        for hasReadBefore in [false, true] {
          // More than once, so that one thread gets the memory of another.
          for _ in 0..<8 { end(flavor, key, rounds, hasReadBefore) }
          F.synchronize()
          let readers = F.registeredReaders
          precondition(
            readers == 0, "\(F.self), round \(rounds): \(readers) readers are left of threads that ended")
        }
      }
    }
    stalledReaderIsNamed(flavor)
    let child = Forked.run {
      F.readAnywhere {}
      end(flavor, nil, 0, false)
      F.synchronize()
      return F.registeredReaders == 1 ? 0 : 1
    }
    precondition(child == .exited(0), "\(F.self): a forked child: \(child)")
  }

  /// Runs a thread to its end that reads in a destructor: twice, and nested.
  private static func end<F: Flavor>(
    _ flavor: F.Type, _ key: pthread_key_t?, _ rounds: Int, _ hasReadBefore: Bool
  ) {
    end(in: key, rounds: rounds, isCalledBefore: hasReadBefore) { flavor.readTwice() }
  }

  /// Runs a thread to its end that calls `body` in the last of so many rounds of destructors, and
  /// first of all as well.
  private static func end(
    in key: pthread_key_t?, rounds: Int, isCalledBefore: Bool, _ body: @escaping @Sendable () -> Void
  ) {
    let read = Unmanaged.passRetained(Read(body))
    let call: @convention(c) (UnsafeMutableRawPointer?) -> Void = {
      // Alive until the thread has ended.
      Unmanaged<Read>.fromOpaque($0!).takeUnretainedValue().body()
    }
    func run(_ key: UnsafePointer<pthread_key_t>?) {
      run_on_thread(isCalledBefore ? call : nil, call, read.toOpaque(), key, Int32(rounds))
    }
    if let key { withUnsafePointer(to: key) { run($0) } } else { run(nil) }
    read.release()
  }

  /// A list of readers that leads to a thread that is gone would not come to an end.
  private static func stalledReaderIsNamed<F: Flavor>(_ flavor: F.Type) {
    let named = Parker(), inside = Parker(), leave = Parker()
    StallReports.setHandler { report in
      if report.readers.map(\.name) == ["dawdler"] { named.open() }
    }
    _ = ServiceThread.start(named: "dawdler") {
      F.readAnywhere {
        inside.open()
        leave.wait()
      }
    }
    inside.wait()
    let gracePeriod = F.startGracePeriod()
    named.wait()
    leave.open()
    gracePeriod.wait()
    StallReports.setHandler(nil)
  }

  private final class Read: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// What a destructor reads is protected: a grace period waits for it.
  @Test func gracePeriodsWaitForSectionsInDestructors() async {
    await #expect(processExitsWith: .success) {
      await onThread { for flavor in FlavorCase.all { ThreadEndTests.waitForADestructor(flavor.type) } }
    }
  }

  private static func waitForADestructor<F: Flavor>(_: F.Type) {
    let inside = Parker(), leave = Parker(), gone = Parker()
    let isSecond = Counter()
    let key = make_destructor_key()
    _ = ServiceThread.start(named: "ending") {
      ThreadEndTests.end(in: key, rounds: 4, isCalledBefore: true) {
        F.readAnywhere {}
        if isSecond.add(1) == 1 { return }
        F.readAnywhere {
          inside.open()
          leave.wait()
        }
      }
      gone.open()
    }
    inside.wait()
    let gracePeriod = F.startGracePeriod()
    let stalls = F.statistics.stalls
    while F.statistics.stalls == stalls { sched_yield() }
    precondition(!gracePeriod.isElapsed, "\(F.self): a grace period did not wait for a destructor's section")
    leave.open()
    gracePeriod.wait()
    gone.wait()
  }

  /// liburcu would end the section silently.
  @Test func threadThatEndsInsideTrapsWhateverReadBefore() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThread {
        // Another thread has found out which key is liburcu's.
        run_on_thread(nil, { _ in Bulletproof.read { _ in } }, nil, nil, 0)
        run_on_thread(nil, { _ in Bulletproof.unsafeEnter() }, nil, nil, 0)
      }
    }
    let output = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(
      output.hasSuffix(
        "Fatal error: a thread ended inside a Bulletproof read-side critical section: leave every section first\n"
      ))
  }
}

extension Flavor {
  fileprivate static func readTwice() {
    for _ in 0..<2 { readAnywhere { if self != QSBR.self { read { _ in } } } }
  }
}
