import Glibc
import Quiescence
import TestSupport
import Testing

/// A forked child has one thread of its parent's. It reads, waits and retires as if nothing had
/// happened.
@Suite(.exclusive) struct ForkTests {
  /// With readers, writers and retiring threads at work, so that the fork meets every lock and
  /// state.
  @Test(arguments: FlavorCase.all)
  func childReadsSynchronizesAndRetires(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> [Forked] {
      let done = Counter()
      let rounds = Counter()
      let results = Shared(Locked([Forked]()))
      let cohort = F.reclaimer.cohort(named: "cohort")
      let own = RCUReclaimer(named: "own", F.self)
      await onThreads(5) { index in
        switch index {
        case 0:
          // Once in the parent, and until the others have gone round. The Swift runtime makes the
          // types that generic code uses at the first use, under locks that a fork leaves held: not
          // this library's to mend.
          precondition(Self.useEverything(F.self, [F.reclaimer, cohort, own]) == 0)
          while rounds.value < 100 { Processor.yield() }
          for _ in 0..<20 {
            let result = Forked.run { Self.useEverything(F.self, [F.reclaimer, cohort, own]) }
            results.value.withLock { $0.append(result) }
          }
          done.add(1)
        case 1: while done.value == 0 { F.readAnywhere { for _ in 0..<10 { Processor.yield() } } }
        case 2: while done.value == 0 { F.synchronize() }
        case 3:
          while done.value == 0 {
            F.retire {}
            cohort.retire {}
            own.retire {}
            F.barrier()
          }
        default:
          // Threads that come and go: some are registering, some are leaving.
          while done.value == 0 {
            let gone = Parker()
            precondition(
              ServiceThread.start(named: "short") {
                F.readAnywhere {}; F.retire {}; gone.open()
              } == 0)
            gone.wait()
            rounds.add(1)
          }
        }
      }
      return results.value.withLock { $0 }
    }
    let results = await run(flavor.type)
    #expect(results == [Forked](repeating: .exited(0), count: 20))
  }

  /// A status of 0 when everything works.
  private static func useEverything<F: Flavor>(_: F.Type, _ reclaimers: [RCUReclaimer]) -> Int32 {
    F.readAnywhere {}
    F.synchronize()
    let gracePeriod = F.startGracePeriod()
    gracePeriod.wait()
    if !gracePeriod.isElapsed { return 1 }
    let ran = Counter()
    for reclaimer in reclaimers {
      reclaimer.retire { ran.add(1) }
      reclaimer.barrier()
    }
    if ran.value != reclaimers.count { return 2 }
    // Threads of its own, where those of the parent had their thread-local memory.
    for _ in 0..<3 {
      let parkers = (0..<4).map { _ in Parker() }
      for parker in parkers {
        if ServiceThread.start(
          named: "child",
          {
            F.readAnywhere {}; F.retire {}; parker.open()
          }) != 0
        {
          return 3
        }
      }
      for parker in parkers { parker.wait() }
      F.synchronize()
      F.barrier()
    }
    // A child of the child.
    return Forked.run {
      F.synchronize(); return 0
    } == .exited(0) ? 0 : 4
  }

  /// What waiters of the parent held is not released in the fork's handler: its end takes locks.
  @Test func childDoesNotReleaseWhatWaitersHold() async {
    // In a process of its own: here, a section that lasts would fill the reclaimer with what other
    // tests retire.
    await #expect(processExitsWith: .success) {
      Memb.read { _ in
        // A grace period that this thread holds up: when its thread has taken the first, the others
        // wait in the queue.
        Memb.afterGracePeriod(.call {})
        usleep(50_000)
        // The queue has the only references.
        Memb.afterGracePeriod(ForkTests.holding(Shared(SleepableDomain("lost"))))
        Memb.afterGracePeriod(ForkTests.holding(RCUReclaimer(named: "lost", Memb.self)))
        if Forked.run({ 0 }) != .exited(0) { fatalError("the child did not come back from the fork") }
      }
    }
  }

  private static func holding(_ object: AnyObject & Sendable) -> Waiter { .call { _ = object } }

  /// What the parent's threads had retired runs in the child too, which owns its copy; but what was
  /// running in a thread of the parent runs there only.
  @Test func childRunsCallbacksThatTheParentRetired() async {
    let result = await onThread {
      let ran = Counter()
      let own = RCUReclaimer(named: "own", Memb.self)
      let other = RCUReclaimer(named: "other", Bulletproof.self)
      let reclaimers = [own, other]
      let running = reclaimers.map { _ in Parker() }
      let mayReturn = Parker()
      for (reclaimer, running) in zip(reclaimers, running) {
        reclaimer.retire {
          running.open()
          mayReturn.wait()
          ran.add(1)
        }
      }
      for parker in running { parker.wait() }
      defer { mayReturn.open() }
      // A thread that the child does not have.
      let retired = Parker(), mayEnd = Parker()
      _ = ServiceThread.start(named: "retirer") {
        for _ in 0..<1000 { own.retire { ran.add(1) } }
        retired.open()
        mayEnd.wait()
      }
      retired.wait()
      defer { mayEnd.open() }
      other.retire { ran.add(1) }
      return Forked.run {
        own.barrier()
        other.barrier()
        return ran.value == 1001 ? 0 : 1
      }
    }
    #expect(result == .exited(0))
  }

  /// A fork inside a section does not wait for the grace period that waits for the section.
  @Test(arguments: FlavorCase.all)
  func forkInsideASectionDoesNotHang(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> (read: Forked, waited: Forked, after: Forked) {
      await onThread {
        let results = Shared(Locked([Forked]()))
        while results.value.withLock({ $0.isEmpty }) {
          let stalls = F.statistics.stalls
          F.readAnywhere {
            let before = F.startGracePeriod()
            // Until it is in progress. Or again: an earlier grace period, which another test stalls
            // and which is counted already, may wait for this section.
            let limit = ContinuousClock.now + .milliseconds(500)
            while F.statistics.stalls == stalls {
              if ContinuousClock.now > limit { return }
              Processor.yield()
            }
            let read = Forked.run { F.read { _ in before.isElapsed ? 1 : 0 } }
            results.value.withLock { $0.append(read) }
          }
        }
        let inside = F.readAnywhere {
          // No grace period is under way now, or it does not wait for this section: either way the
          // child lives.
          Forked.run { 0 }
        }
        F.synchronize()
        let after = Forked.run {
          F.synchronize(); return 0
        }
        return (results.value.withLock { $0[0] }, inside, after)
      }
    }
    let results = await run(flavor.type)
    #expect(results == (.exited(0), .exited(0), .exited(0)))
  }

  @Test func gracePeriodThatTheForkLostTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      await onThreads { _ in
        var result = Forked.exited(0)
        // Once before the fork: see above.
        Memb.synchronize()
        Memb.read { _ in
          _ = Memb.startGracePeriod()
          while Memb.statistics.stalls == 0 { Processor.yield() }
          result = Forked.run {
            Memb.unsafeLeave()
            Memb.synchronize()
            return 0
          }
        }
        precondition(result == .exited(0))
      }
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(line.contains("forked inside a read-side critical section"))
  }

  /// Each in a process of its own, which has nothing of other tests half done.
  @Test func domainWorksInTheChild() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      let domain = Shared(SleepableDomain())
      let done = Counter(), rounds = Counter(), ran = Counter()
      await onThreads(3) { index in
        func useEverything() {
          domain.value.read { _ in }
          domain.value.synchronize()
          domain.value.startGracePeriod().wait()
          domain.value.retire { ran.add(1) }
          domain.value.barrier()
        }
        useEverything()
        if rounds.add(1) < 3 { while rounds.value < 3 { sched_yield() } }
        if index > 0 {
          while done.value == 0 {
            index == 1 ? domain.value.synchronize() : domain.value.retire { ran.add(1) }
          }
          return
        }
        for round in 0..<20 {
          // Every other one in a section, which is the child's as well as the parent's.
          let fork = {
            Forked.run {
              let before = ran.value
              if round % 2 == 0 { useEverything() }
              return round % 2 == 0 && ran.value <= before ? 1 : 0
            }
          }
          let result = round % 2 == 0 ? fork() : domain.value.read { _ in fork() }
          if result != .exited(0) { fatalError("round \(round): a forked child: \(result)") }
        }
        done.add(1)
      }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  /// A thread that is inside in the parent never leaves in the child.
  @Test func domainThatTheForkFoundOpenTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let domain = Shared(SleepableDomain("open"))
      await onThreads { _ in
        domain.value.synchronize()
        let inside = Parker(), leave = Parker()
        _ = ServiceThread.start(named: "reader") {
          domain.value.read { _ in
            inside.open(); leave.wait()
          }
        }
        inside.wait()
        let child = Forked.run {
          domain.value.read { _ in }
          domain.value.synchronize()
          return 0
        }
        leave.open()
        domain.value.synchronize()
        precondition(child == .exited(0))
      }
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(
      line.contains(
        "a grace period of the SleepableDomain \"open\" in a child that was forked while sections"))
  }

  /// Two threads fork at the same time, one of them inside a section: no grace period waits for it.
  @Test func forkInsideASectionBesideAnotherForkLosesNoGracePeriod() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      // Before the library's handlers were added, so that it runs after them.
      Handlers.add()
      await onThread {
        Memb.synchronize()
        let first = Parker(), second = Parker(), registered = Parker(), mayFork = Parker()
        let children = Counter(), id = Counter()
        // Registers before the first thread forks, which holds the registry's lock.
        _ = ServiceThread.start(named: "second") {
          Memb.read { _ in }
          registered.open()
          mayFork.wait()
          Memb.read { _ in
            id.add(Int(ServiceThread.currentID))
            let child = Forked.run {
              Memb.unsafeLeave()
              Memb.synchronize()
              return 0
            }
            if child == .exited(0) { children.add(1) }
          }
          second.open()
        }
        registered.wait()
        _ = ServiceThread.start(named: "first") {
          Handlers.holdsUp.add(1)
          let child = Forked.run {
            Memb.synchronize(); return 0
          }
          if child == .exited(0) { children.add(1) }
          first.open()
        }
        Handlers.isHeldUp.wait()
        mayFork.open()
        // Until it waits for the first one's locks.
        while id.value == 0 || !Handlers.sleeps(id.value) { usleep(100) }
        Handlers.goesOn.open()
        first.wait()
        second.wait()
        Memb.synchronize()
        precondition(children.value == 2, "a child could not wait for a grace period")
      }
    }
    #expect(result != nil, "\(result.errorOutput)")
  }

  private enum Handlers {
    static let holdsUp = Counter(), isHeldUp = Parker(), goesOn = Parker()

    static func add() {
      let error = pthread_atfork(
        {
          if !Handlers.holdsUp.exchange(from: 1, to: 2) { return }
          Handlers.isHeldUp.open()
          Handlers.goesOn.wait()
        }, nil, nil)
      precondition(error == 0)
    }

    /// Whether the thread waits in the kernel, and not just now: a hundred looks in a row.
    static func sleeps(_ id: Int) -> Bool {
      (0..<100).allSatisfy { _ in
        guard let file = fopen("/proc/self/task/\(id)/stat", "r") else { return false }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return false }
        usleep(50)
        return String(decoding: line.map { UInt8(bitPattern: $0) }, as: UTF8.self).contains(") S ")
      }
    }
  }
}
