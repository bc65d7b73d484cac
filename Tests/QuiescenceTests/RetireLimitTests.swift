import Glibc
import Quiescence
import TestSupport
import Testing

/// With a reader that stays in its section, a fast producer stays under the limit, and nothing is
/// lost.
@Suite(.exclusive, .serialized) struct RetireLimitTests {
  private static let limit = 1000

  /// Retires `count` values while a reader holds up the grace period; the reader leaves when half
  /// of the limit is queued, or, where a full reclaimer refuses, when `retire` opens `leave`.
  /// Returns how many values were alive at the most and in the end.
  private func flood<F: Flavor>(
    _: F.Type, _ policy: RetireLimit.Policy, producers: Int = 2, count: Int = 20_000,
    retire: @escaping @Sendable (RCUReclaimer, Tracked, _ leave: Parker) -> Void = { reclaimer, object, _ in
      reclaimer.retire(object)
    }
  ) async -> (most: Int, left: Int, statistics: RCUReclaimer.Statistics, limit: Int) {
    let reclaimer = RCUReclaimer(named: "limited", F.self, limit: RetireLimit(Self.limit, policy))
    let alive = Counter()
    let most = Counter()
    let inside = Parker()
    let leave = Parker()
    let done = Counter()
    await onThreads(producers + 1) { index in
      if index == producers {
        // A reader that stays until the producers are held up, and then short ones until they are
        // done.
        F.readAnywhere {
          inside.open()
          leave.wait()
        }
        while done.value < producers { F.readAnywhere {} }
        return
      }
      inside.wait()
      for number in 0..<count {
        retire(reclaimer, Tracked(number, alive: alive), leave)
        let now = alive.value
        if now > most.value { most.add(now - most.value) }
        // Before the one that may have to wait.
        if policy != .refuse && reclaimer.statistics.queued > Self.limit / 2 { leave.open() }
      }
      done.add(1)
    }
    await reclaimer.barrier()
    return (most.value, alive.value, reclaimer.statistics, Self.limit)
  }

  @Test(arguments: FlavorCase.all, [RetireLimit.Policy.wait, .synchronizeInline])
  func memoryStaysUnderTheLimit(_ flavor: FlavorCase, _ policy: RetireLimit.Policy) async {
    let result = await flood(flavor.type, policy)
    // Each producer holds the one that it is about to retire.
    #expect(result.most <= result.limit + 2)
    #expect(result.left == 0)
    #expect(result.statistics.highWater <= result.limit)
    #expect(result.statistics.highWater > result.limit / 2)
    #expect(result.statistics.run == 40_000)
    #expect(result.statistics.queued == 0)
  }

  @Test(arguments: FlavorCase.all)
  func fullReclaimerRefuses(_ flavor: FlavorCase) async throws {
    let refused = Counter()
    let result = await flood(flavor.type, .refuse) { reclaimer, object, leave in
      while true {
        do throws(RetireError) {
          return try reclaimer.tryRetire(object)
        } catch {
          // Nothing is lost: the object is here, and is tried again.
          refused.add(1)
          leave.open()
          precondition(error.limit == Self.limit)
          Processor.yield()
        }
      }
    }
    #expect(refused.value > 0)
    #expect(result.most <= result.limit + 2)
    #expect(result.left == 0)
    #expect(result.statistics.run == 40_000)
  }

  @Test func errorNamesTheFullReclaimer() async throws {
    let reclaimer = RCUReclaimer(named: "sessions", Memb.self, limit: RetireLimit(1, .refuse))
    let text = await onThread {
      Memb.read { _ in
        reclaimer.retire {}
        do throws(RetireError) {
          try reclaimer.tryRetire {}
          return "was not refused"
        } catch {
          return "\(error)"
        }
      }
    }
    #expect(text == "sessions: 1 callback waits for a grace period already, and its policy is to refuse more")
  }

  /// Idle threads have been granted more than the limit is now.
  @Test func grantsOfIdleThreadsDelayNoThread() async {
    let reclaimer = RCUReclaimer(named: "small", Memb.self, limit: RetireLimit(10_000, .wait))
    let ran = Counter()
    let idle = Parker()
    let working = Counter()
    await onThreads(33) { index in
      if index == 0 {
        while working.value < 32 { Processor.yield() }
        reclaimer.limit = RetireLimit(4, .wait)
        for _ in 0..<1000 { reclaimer.retire { ran.add(1) } }
        idle.open()
      } else {
        reclaimer.retire { ran.add(1) }
        working.add(1)
        idle.wait()
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 1032)
  }

  /// Producers at full speed go on by themselves as long as they are allowed to. A limit that is
  /// set meanwhile stops each after one more at the most, however it meets the thread that takes
  /// itself the next segment.
  @Test func limitStopsProducersAtFullSpeed() async {
    let reclaimer = RCUReclaimer(named: "stopped", Memb.self)
    let ran = Counter()
    let retired = Counter()
    let tooMany = Counter()
    for _ in 0..<100 {
      reclaimer.limit = nil
      let inside = Parker()
      let leave = Parker()
      let done = Counter()
      await onThreads(4) { index in
        switch index {
        case 0:
          Memb.read { _ in
            inside.open(); leave.wait()
          }
        case 1:
          inside.wait()
          while reclaimer.statistics.queued < 200 { Processor.yield() }
          reclaimer.limit = RetireLimit(1, .wait)
          // What was on its way when the limit came.
          let queued = reclaimer.statistics.queued
          for _ in 0..<30 { Processor.yield() }
          if reclaimer.statistics.queued > queued + 2 { tooMany.add(1) }
          done.add(1)
          leave.open()
        default:
          inside.wait()
          while done.value == 0 {
            reclaimer.retire { ran.add(1) }
            retired.add(1)
          }
        }
      }
    }
    await reclaimer.barrier()
    #expect(tooMany.value == 0)
    #expect(ran.value == retired.value)
  }

  /// A producer that finds the reclaimer full is woken when there is room for many entries: woken
  /// for a few, it would sleep again at once, and producers at the limit would spend more time on
  /// that than on retiring.
  @Test func producerThatWaitsIsWokenForManyEntries() async {
    let limit = 1 << 15
    let rounds = 10
    let reclaimer = RCUReclaimer(named: "woken", Memb.self, limit: RetireLimit(limit, .wait))
    let ran = Counter()
    var roundsWithMany = 0
    for _ in 0..<rounds {
      let (inside, leave) = (Parker(), Parker())
      let before = ran.value
      let ranAtWakeUp = await onThread {
        // A batch of its own, so that all others are in the next one.
        reclaimer.retire {
          inside.open()
          leave.wait()
          ran.add(1)
        }
        inside.wait()
        for number in 1..<limit {
          reclaimer.retire {
            // The producer runs meanwhile, if it was woken.
            if number % 256 == 0 { usleep(50) }
            ran.add(1)
          }
        }
        leave.open()
        // The first one may have the place of the batch that ended. The second one waits, unless
        // this thread comes late and finds room.
        for _ in 0..<2 { reclaimer.retire { ran.add(1) } }
        return ran.value - before
      }
      if ranAtWakeUp >= limit / 8 { roundsWithMany += 1 }
      await reclaimer.barrier()
      #expect(ran.value == before + limit + 2)
    }
    #expect(roundsWithMany > rounds / 2)
  }

  @Test func callbacksThatRetireAreNotHeldUp() async {
    let reclaimer = RCUReclaimer(named: "chained", Memb.self, limit: RetireLimit(4, .wait))
    let ran = Counter()
    await onThreads { _ in
      for _ in 0..<100 {
        reclaimer.retire { for _ in 0..<10 { reclaimer.retire { ran.add(1) } } }
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 1000)
  }

  @Test func limitCanBeChangedWhileProducersWait() async {
    let reclaimer = RCUReclaimer(named: "changed", Memb.self, limit: RetireLimit(10, .wait))
    let ran = Counter()
    let inside = Parker()
    let leave = Parker()
    await onThreads(3) { index in
      switch index {
      case 0:
        Memb.read { _ in
          inside.open(); leave.wait()
        }
      case 1:
        inside.wait()
        for _ in 0..<100 { reclaimer.retire { ran.add(1) } }
        // All of them, though nothing could run.
        precondition(ran.value == 0)
        reclaimer.limit = RetireLimit(50, .synchronizeInline)
        leave.open()
        for _ in 0..<100 { reclaimer.retire { ran.add(1) } }
      default:
        inside.wait()
        // Until the producer waits: nothing else can make the number stay.
        while reclaimer.statistics.queued < 10 { Processor.yield() }
        reclaimer.limit = nil
      }
    }
    await reclaimer.barrier()
    #expect(ran.value == 200)
    #expect(reclaimer.limit == RetireLimit(50, .synchronizeInline))
  }

  @Test(arguments: [RetireLimit.Policy.wait, .synchronizeInline, .refuse])
  func beingFullInsideASectionTraps(_ policy: RetireLimit.Policy) async {
    // An exit test captures nothing.
    let result: ExitTest.Result?
    switch policy {
    case .wait:
      result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
        await fill(.wait)
      }
    case .synchronizeInline:
      result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
        await fill(.synchronizeInline)
      }
    case .refuse:
      result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
        await fill(.refuse)
      }
    }
    let line = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(line.contains("full is full, and a thread retires inside a Memb read-side critical section"))
  }
}

private func fill(_ policy: RetireLimit.Policy) async {
  let reclaimer = RCUReclaimer(named: "full", Memb.self, limit: RetireLimit(10, policy))
  await onThreads { _ in Memb.read { _ in for _ in 0..<11 { reclaimer.retire {} } } }
}
