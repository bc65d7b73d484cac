import Quiescence
import TestSupport
import Testing

@Suite(.exclusive) struct RCUReclaimerTests {
  @Test(arguments: FlavorCase.all)
  func runsEverythingOnceOnItsThread(_ flavor: FlavorCase) async {
    let threads = Shared(Locked(Set<Int32>()))
    let ran = Counter()
    func make<F: Flavor>(_: F.Type) -> RCUReclaimer { RCUReclaimer(named: "own", F.self) }
    let reclaimer = make(flavor.type)
    await onThreads(4) { _ in
      for _ in 0..<1000 {
        reclaimer.retire {
          ran.add(1)
          threads.value.withLock { $0.insert(ServiceThread.currentID) }
        }
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 4000)
    #expect(threads.value.withLock { $0.count } == 1)
    #expect(reclaimer.statistics.run == 4000)
  }

  @Test func takesObjectsValuesFunctionsAndClosures() async {
    struct Noncopyable: ~Copyable {
      let tracked: Tracked
      deinit { tracked.use() }
    }
    let alive = Counter()
    let called = Counter()
    let reclaimer = RCUReclaimer(named: "own", Memb.self)
    await onThread {
      reclaimer.retire(Tracked(1, alive: alive))
      reclaimer.retireValue(Noncopyable(tracked: Tracked(2, alive: alive)))
      reclaimer.unsafeRetire(Unmanaged.passRetained(called).toOpaque()) { argument in
        // Retained by the call that takes this closure as an argument.
        Unmanaged<Counter>.fromOpaque(argument!).takeRetainedValue().add(1)
      }
      reclaimer.retire { called.add(1) }
      Memb.retireValue(Noncopyable(tracked: Tracked(3, alive: alive)))
    }
    await reclaimer.barrier()
    await Memb.barrier()
    #expect(alive.value == 0)
    #expect(called.value == 2)
  }

  /// While a callback of another owner is stuck, the waiters of a cohort run its callbacks on their
  /// own threads.
  @Test(arguments: [false, true])
  func cohortBarrierWaitsOnlyForItsCallbacks(isAsync: Bool) async {
    let reclaimer = RCUReclaimer(named: "host", Memb.self)
    let cohort = reclaimer.cohort(named: "module")
    let other = reclaimer.cohort(named: "other")
    let stuck = Parker()
    let isStuck = Parker()
    let ran = Counter()
    other.retire {
      isStuck.open()
      stuck.wait()
    }
    await onThreads { _ in isStuck.wait() }
    await onThreads(2) { _ in
      for _ in 0..<500 { cohort.retire { cohort.retire { ran.add(1) } } }
    }
    if isAsync { await cohort.barrier() } else { await onThread { cohort.barrier() } }
    #expect(ran.value == 1000)
    #expect(cohort.statistics.run == 2000)
    #expect(other.statistics.run == 1)
    stuck.open()
    await reclaimer.shutdown()
  }

  /// The reclaimer's thread runs a cohort's callbacks when no thread waits for them. It may do so
  /// concurrently with a waiter.
  @Test func reclaimerAndWaitersShareACohortsCallbacks() async {
    let reclaimer = RCUReclaimer(named: "host", Memb.self)
    let cohort = reclaimer.cohort(named: "module")
    let alone = Parker()
    cohort.retire { alone.open() }
    await onThreads { _ in alone.wait() }
    let inside = Counter()
    let overlaps = Counter()
    let ran = Counter()
    await onThreads(4) { _ in
      for _ in 0..<200 {
        let own = Counter()
        for _ in 0..<10 {
          cohort.retire {
            if inside.add(1) != 1 { overlaps.add(1) }
            Processor.yield()
            own.add(1)
            ran.add(1)
            inside.add(-1)
          }
        }
        cohort.barrier()
        precondition(own.value == 10)
      }
    }
    #expect(ran.value == 8000)
    #expect(overlaps.value == 0, "two threads ran callbacks of one reclaimer at once")
  }

  @Test func shutdownEndsTheThreadAndTheNextRetireStartsIt() async {
    let reclaimer = RCUReclaimer(named: "ending", Memb.self)
    let threads = Shared(Locked([Int32]()))
    for _ in 0..<50 {
      reclaimer.retire { threads.value.withLock { $0.append(ServiceThread.currentID) } }
      await onThread { reclaimer.shutdown() }
      await reclaimer.shutdown()
    }
    let ids = threads.value.withLock { $0 }
    #expect(ids.count == 50)
    #expect(Set(ids).count > 1)
  }

  @Test func retireDuringShutdownLosesNothing() async {
    let reclaimer = RCUReclaimer(named: "ending", Memb.self)
    let ran = Counter()
    let done = Counter()
    await onThreads(3) { index in
      if index == 0 {
        while done.value < 2 { reclaimer.shutdown() }
      } else {
        for _ in 0..<20_000 { reclaimer.retire { ran.add(1) } }
        done.add(1)
      }
    }
    await reclaimer.shutdown()
    #expect(ran.value == 40_000)
  }

  /// Releasing the last reference loses no callback. A later reclaimer uses the same place in
  /// threads' tables, where queues of the earlier one may be left.
  @Test func releasedReclaimerRunsItsPendingCallbacks() async {
    let ran = Counter()
    await onThreads(3) { index in
      for round in 0..<200 {
        let reclaimer = RCUReclaimer(named: "short", Memb.self)
        reclaimer.retire { ran.add(1) }
        if round % 2 == 0 { reclaimer.cohort(named: "shorter").retire { ran.add(1) } }
        if round % 3 == 0 { reclaimer.barrier() }
      }
    }
    await onThread { while ran.value < 900 { Processor.yield() } }
    #expect(ran.value == 900)
  }

  @Test func executorRunsTheCallbacks() async {
    let executor = CountingExecutor()
    let reclaimer = RCUReclaimer(named: "executed", Memb.self, runner: .executor(executor))
    let ran = Counter()
    let elsewhere = Counter()
    await onThreads(2) { _ in
      for _ in 0..<1000 {
        reclaimer.retire {
          ran.add(1)
          if !executor.isCurrent { elsewhere.add(1) }
        }
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 2000)
    #expect(elsewhere.value == 0)
    #expect(executor.jobs.value > 0)
    await reclaimer.shutdown()
    await reclaimer.barrier()
  }

  private final class CountingExecutor: TaskExecutor {
    let jobs = Counter()
    private let thread = Shared(Locked<Int32>(0))

    var isCurrent: Bool { thread.value.withLock { $0 } == ServiceThread.currentID }

    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      jobs.add(1)
      _ = ServiceThread.start(named: "job") { [self] in
        thread.value.withLock { $0 = ServiceThread.currentID }
        job.runSynchronously(on: asUnownedTaskExecutor())
      }
    }
  }

  @Test func barrierOfACohortInsideASectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let cohort = Memb.reclaimer.cohort(named: "module")
      await onThreads { _ in Memb.read { _ in cohort.barrier() } }
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(line.contains("barrier() inside a Memb read-side critical section"))
  }

  /// A slow destructor of one owner delays no grace period of others.
  @Test func stuckCallbackDelaysNoGracePeriod() async {
    let stuck = Parker()
    Memb.retire { stuck.wait() }
    await Memb.synchronize()
    await Memb.startGracePeriod().elapsed()
    stuck.open()
    await Memb.barrier()
  }
}
