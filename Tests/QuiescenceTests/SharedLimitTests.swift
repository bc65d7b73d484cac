import Glibc
import Quiescence
import TestSupport
import Testing

/// A limit counts what waits. One that the library chose is exceeded where a thread cannot wait;
/// one that a user set is kept.
@Suite(.exclusive, .serialized) struct SharedLimitTests {
  /// Threads that have retired once and sleep.
  private final class Idlers: Sendable {
    private let leave = Parker()
    private let left = Counter()

    init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
      let ready = Counter()
      for _ in 0..<count {
        left.add(1)
        let error = ServiceThread.start(named: "idle") { [leave, left] in
          body()
          ready.add(1)
          leave.wait()
          left.add(-1)
        }
        precondition(error == 0, "no thread for a test: errno \(error)")
      }
      while ready.value < count { Processor.yield() }
    }

    func end() {
      leave.open()
      while left.value > 0 { Processor.yield() }
    }
  }

  @Test func idleThreadsTakeNoRoom() async {
    let limit = 1000
    let reclaimer = RCUReclaimer(named: "idle", Memb.self, limit: RetireLimit(limit, .refuse))
    let fitted = await onThread {
      // Each of them has waited, and could have appended more.
      let idlers = Idlers(400) { reclaimer.retire {} }
      reclaimer.barrier()
      defer { idlers.end() }
      return Memb.read { _ in
        for number in 0... {
          do throws(RetireError) { try reclaimer.tryRetire {} } catch { return number }
        }
        return 0
      }
    }
    #expect(fitted == limit)
    #expect(reclaimer.statistics.highWater <= limit)
  }

  /// The same while they have grants that the reclaimer has not taken back: it never found them
  /// idle.
  @Test func unusedGrantsAreTakenBack() async {
    let limit = 1000
    let reclaimer = RCUReclaimer(named: "granted", Memb.self, limit: RetireLimit(limit, .refuse))
    let fitted = await onThread {
      Memb.read { _ in
        // This section keeps what they have retired from running.
        let idlers = Idlers(10) { reclaimer.retire {} }
        defer { idlers.end() }
        for number in 0... {
          do throws(RetireError) { try reclaimer.tryRetire {} } catch { return number }
        }
        return 0
      }
    }
    #expect(fitted == limit - 10)
    await reclaimer.barrier()
    #expect(reclaimer.statistics.highWater == limit)
    #expect(reclaimer.statistics.run == limit)
  }

  /// A ratio on one thread in one run; by turns, since other tests come and go meanwhile.
  @Test func costOfARetireDoesNotDependOnIdleThreads() async {
    let (alone, beside) = await onThread {
      func nanoseconds() -> Double {
        var best = Double.infinity
        for _ in 0..<5 {
          let start = Self.threadTime
          for _ in 0..<50_000 { Memb.unsafeRetire(nil) { _ in } }
          best = min(best, Self.threadTime - start)
          Memb.barrier()
        }
        return best
      }
      _ = nanoseconds()
      var (alone, beside) = (Double.infinity, Double.infinity)
      for _ in 0..<4 {
        alone = min(alone, nanoseconds())
        let idlers = Idlers(3000) { Memb.retire {} }
        Memb.barrier()
        beside = min(beside, nanoseconds())
        idlers.end()
      }
      return (alone, beside)
    }
    #expect(beside <= 1.5 * alone)
  }

  private static var threadTime: Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }

  /// In a process of its own, which has nothing else in its sections.
  @Test func defaultLimitIsExceededInsideSections() async {
    await #expect(processExitsWith: .success) {
      let ran = Counter()
      let count = 1 << 20 + 1000
      await onThreads { _ in
        Memb.read { _ in
          for _ in 0..<count { Memb.unsafeRetire(Unmanaged.passUnretained(ran).toOpaque(), with: count1) }
          if Memb.reclaimer.statistics.queued != count { fatalError("not all of it waits") }
          // Of another flavor: its callbacks may wait for this section.
          QSBR.retire {}
        }
        // Outside it waits until there is room again.
        Memb.retire {}
        if Memb.reclaimer.statistics.queued > 1 << 20 { fatalError("a retire outside did not wait") }
        Memb.barrier()
      }
      if ran.value != count { fatalError("\(ran.value) of \(count) ran") }
    }
  }

  /// A reader waits for the turn of an update, whose closure updates another box, and so retires.
  @Test func nestedUpdatesExceedTheDefaultLimit() async {
    await #expect(processExitsWith: .success) {
      let outer = Shared(RCUBox(0)), inner = Shared(RCUBox(0))
      let inside = Parker(), inUpdate = Parker()
      await onThreads(2) { index in
        if index == 0 {
          Memb.read { _ in
            for _ in 0..<(1 << 20) { Memb.unsafeRetire(nil) { _ in } }
            inside.open()
            inUpdate.wait()
            outer.value.update { $0 += 1 }
          }
        } else {
          inside.wait()
          outer.value.update { value in
            inUpdate.open()
            for _ in 0..<100 { inner.value.update { $0 += 1 } }
            value += 1
          }
        }
      }
      if outer.value.snapshot() != 2 || inner.value.snapshot() != 100 { fatalError("lost updates") }
    }
  }

  @Test func exceedingASetLimitInsideAnUpdateTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let outer = Shared(RCUBox(0)), inner = Shared(RCUBox(0))
      Memb.reclaimer.limit = RetireLimit(10, .wait)
      let inside = Parker()
      await onThreads(2) { index in
        if index == 0 {
          Memb.read { _ in
            inside.open(); Parker().wait()
          }
        }
        inside.wait()
        outer.value.update { _ in while true { inner.value.update { $0 += 1 } } }
      }
    }
    let lines = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).split(separator: "\n")
    #expect(
      lines.contains {
        $0.hasSuffix(
          "rcu-memb is full, and a thread retires inside the closure of a box's update or replace: a reader may "
            + "wait for that box; retire after the update, use tryRetire, or set a higher limit")
      })
  }

  /// Callbacks retire on the thread that synchronizes inline, in a cohort's barrier, and on an
  /// executor: what that thread retires afterwards is limited as before.
  @Test(arguments: [false, true])
  func callbacksThatRetireElsewhereLeaveTheLimitInPlace(inBarrier: Bool) async {
    let limit = 100
    let reclaimer = Memb.reclaimer.cohort(
      named: "limited", limit: RetireLimit(limit, inBarrier ? .wait : .synchronizeInline))
    let ran = Counter()
    let chained = 4
    await onThreads { _ in
      for round in 0..<5000 {
        reclaimer.retire {
          ran.add(1)
          if round % 50 == 0 { for _ in 0..<chained { reclaimer.retire { ran.add(1) } } }
        }
        if inBarrier && round % 100 == 99 { reclaimer.barrier() }
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 5000 + 100 * chained)
    // What callbacks retire is not held up: two of them a hundred, at the most.
    #expect(reclaimer.statistics.highWater <= limit + 3 * chained)
  }

  @Test func domainHasALimitAndStatistics() async {
    let alive = Counter()
    let domain = Shared(SleepableDomain("limited"))
    let box = Shared(SleepableBox(Tracked(0, alive: alive), in: domain.value))
    #expect(domain.value.reclaimer.limit == nil)
    domain.value.reclaimer.limit = RetireLimit(100, .wait)
    let inside = Parker(), leave = Parker()
    await onThreads(3) { index in
      switch index {
      case 0:
        domain.value.read { _ in
          inside.open(); leave.wait()
        }
      case 1:
        inside.wait()
        for number in 1...1000 { box.value.publish(Tracked(number, alive: alive)) }
      default:
        inside.wait()
        while domain.value.reclaimer.statistics.queued < 100 { Processor.yield() }
        for _ in 0..<1000 { Processor.yield() }
        precondition(domain.value.reclaimer.statistics.queued == 100)
        leave.open()
      }
    }
    await domain.value.barrier()
    #expect(alive.value == 1)
    #expect(domain.value.reclaimer.statistics.highWater == 100)
    #expect(domain.value.reclaimer.statistics.run == 1000)
    #expect(domain.value.reclaimer.statistics.queued == 0)
  }

  @Test func fullDomainInsideItsSectionTraps() async {
    let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
      let domain = Shared(SleepableDomain("full"))
      domain.value.reclaimer.limit = RetireLimit(10, .wait)
      await onThreads { _ in domain.value.read { _ in for _ in 0..<11 { domain.value.retire {} } } }
    }
    let lines = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self).split(separator: "\n")
    #expect(
      lines.contains {
        $0.hasSuffix(
          "full is full, and a thread retires inside a SleepableDomain \"full\" read-side critical section: it would "
            + "wait for itself; retire after the section, use tryRetire, or set a higher limit")
      })
  }

  /// Two million requests while a reader stays: one pending request is enough.
  @Test(arguments: FlavorCase.all)
  func requestsForGracePeriodsTakeNoMemory(_ flavor: FlavorCase) async {
    func run<F: Flavor>(_: F.Type) async -> Int {
      let grown = await onThread {
        F.readAnywhere {
          _ = F.startGracePeriod()
          let before = ProcessUsage.memory
          for _ in 0..<2_000_000 { _ = F.startGracePeriod() }
          return ProcessUsage.memory - before
        }
      }
      await F.startGracePeriod().elapsed()
      return grown
    }
    #expect(await run(flavor.type) < 8 << 20)
  }

  @Test func requestsForGracePeriodsOfADomainTakeNoMemory() async {
    let domain = Shared(SleepableDomain())
    let grown = await onThread {
      domain.value.read { _ in
        _ = domain.value.startGracePeriod()
        let before = ProcessUsage.memory
        for _ in 0..<2_000_000 { _ = domain.value.startGracePeriod() }
        return ProcessUsage.memory - before
      }
    }
    #expect(grown < 8 << 20)
    await domain.value.startGracePeriod().elapsed()
    // The one that was in progress, the one that all shared, and this one; and not one for each
    // request.
    #expect(domain.value.statistics.gracePeriods < 10)
  }
}

private let count1: @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void = { counter in
  // The argument of the call that this is retired with.
  Unmanaged<Counter>.fromOpaque(counter!).takeUnretainedValue().add(1)
}
