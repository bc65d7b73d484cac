import Glibc
import Quiescence
import TestSupport
import Testing

/// The system refuses every thread: the library is slower, and loses nothing.
@Suite(.exclusive) struct ThreadRefusalTests {
  @Test func retiringAndWaitingWorkWithoutThreads() async {
    await #expect(processExitsWith: .success) {
      Refusal.begin()
      let domain = Shared(SleepableDomain())
      let own = RCUReclaimer(named: "own", MB.self, limit: RetireLimit(100, .wait))
      let cohort = Memb.reclaimer.cohort(named: "cohort")
      let ran = Counter()
      // From here on without `await`, which may want a thread of the pool.
      func check() {
        for _ in 0..<10_000 {
          Memb.retire { Memb.retire { ran.add(1) } }
          own.retire { ran.add(1) }
          cohort.retire { ran.add(1) }
          domain.value.retire { ran.add(1) }
        }
        Memb.read { _ in Memb.retire { ran.add(1) } }
        let gracePeriod = Memb.startGracePeriod()
        gracePeriod.wait()
        Memb.barrier()
        own.barrier()
        cohort.barrier()
        domain.value.startGracePeriod().wait()
        domain.value.barrier()
        own.shutdown()
        if ran.value != 40_001 { fatalError("\(ran.value) ran") }
      }
      check()
      Refusal.end()
      // The next one that retires starts the thread.
      let isOver = Parker()
      Memb.retire { isOver.open() }
      own.retire {}
      func wait() {
        isOver.wait()
        own.barrier()
      }
      wait()
    }
  }

  @Test func tasksWaitWithoutThreads() async {
    await #expect(processExitsWith: .success) {
      let ran = Counter()
      let own = RCUReclaimer(named: "own", Memb.self)
      await Task.yield()
      Refusal.begin()
      await Memb.synchronize()
      own.retire { own.retire { ran.add(1) } }
      await own.barrier()
      await Memb.startGracePeriod().elapsed()
      await own.shutdown()
      if ran.value != 1 { fatalError("\(ran.value) ran") }
    }
  }

  /// No room for a stack.
  private enum Refusal {
    static func begin() {
      var limit = rlimit()
      getrlimit(Self.addressSpace, &limit)
      limit.rlim_cur = rlim_t(ProcessUsage.addressSpace + 7 << 20)
      precondition(setrlimit(Self.addressSpace, &limit) == 0)
      // The stacks that ended threads have left behind are used up first.
      while ServiceThread.start(named: "parked", { Parker().wait() }) == 0 {}
    }

    static func end() {
      var limit = rlimit()
      getrlimit(Self.addressSpace, &limit)
      limit.rlim_cur = limit.rlim_max
      precondition(setrlimit(Self.addressSpace, &limit) == 0)
    }

    private static let addressSpace = __rlimit_resource_t(RLIMIT_AS.rawValue)
  }
}
