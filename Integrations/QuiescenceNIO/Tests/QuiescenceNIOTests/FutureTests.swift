import Dispatch
import NIOCore
import NIOPosix
import Quiescence
import Testing

@testable import QuiescenceNIO

/// Grace periods and barriers as futures, and callbacks that run on a loop.
@Suite(.serialized, .timeLimit(.minutes(1))) struct FutureTests {
  /// Loops that were not made with the delegate.
  private func withPlainGroup(_ body: (MultiThreadedEventLoopGroup) async throws -> Void) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    try await body(group)
    try await group.shutdownGracefully()
  }

  @Test func gracePeriodSucceedsOnItsLoop() async throws {
    try await withPlainGroup { group in
      let loop = group.next(), before = Memb.completedGracePeriods
      let isOnLoop = try await loop.gracePeriod().map { loop.inEventLoop }.get()
      #expect(isOnLoop)
      #expect(Memb.completedGracePeriods > before)
    }
  }

  @Test func gracePeriodWaitsForTheSectionThatAsksForIt() async throws {
    try await withGroup(1) { group in
      let loop = group.next()
      let (isDoneInside, future) = try await loop.submit {
        QSBR.readOnLoop { _ in
          var isDone = false
          let future = loop.gracePeriod(of: QSBR.self)
          // The loop runs nothing else meanwhile, so look from the side of the grace period.
          let gracePeriod = QSBR.startGracePeriod()
          for _ in 0..<1000 { if gracePeriod.isElapsed { isDone = true } }
          return (isDone, future)
        }
      }.get()
      #expect(!isDoneInside)
      try await future.get()
    }
  }

  @Test func barrierRunsWhatWasRetiredBefore() async throws {
    try await withPlainGroup { group in
      let loop = group.next(), runs = Count()
      for _ in 0..<10 { Memb.retire { runs.add() } }
      try await loop.barrier().get()
      #expect(runs.value == 10)
    }
  }

  @Test func callbacksRunOnTheLoop() async throws {
    try await withPlainGroup { group in
      let loop = group.next(), elsewhere = Count(), runs = Count()
      let reclaimer = RCUReclaimer(named: "loop", Memb.self, runner: .eventLoop(loop))
      for _ in 0..<100 {
        reclaimer.retire {
          runs.add()
          if !loop.inEventLoop { elsewhere.add() }
        }
      }
      try await loop.barrier(of: reclaimer).get()
      #expect(runs.value == 100)
      #expect(elsewhere.value == 0)
      await reclaimer.shutdown()
    }
  }

  /// Mutant: the job runs where the tick has left the thread.
  @Test func callbackIsOutsideEverySection() async throws {
    try await withGroup(1) { group in
      let loop = group.next(), inside = Count(), runs = Count()
      let reclaimer = RCUReclaimer(named: "loop", Memb.self, runner: .eventLoop(loop))
      for _ in 0..<50 {
        // A read in the same tick as the callback, often.
        loop.execute {
          reclaimer.retire {
            runs.add()
            if QSBR.isInside { inside.add() }
          }
          QSBR.readOnLoop { _ in }
        }
        loop.execute { QSBR.readOnLoop { _ in } }
        try await loop.barrier(of: reclaimer).get()
      }
      #expect(runs.value == 50)
      #expect(inside.value == 0)
      await reclaimer.shutdown()
    }
  }

  /// A job that came when the loop was already closed: NIO drops its task.
  ///
  /// Mutant: the jobs are forgotten.
  @Test func jobThatTheLoopDoesNotRunRunsElsewhere() async throws {
    try await withPlainGroup { group in
      let loop = group.next(), mayGo = DispatchSemaphore(value: 0), runs = Count()
      let executor = LoopExecutor(loop)
      loop.execute { mayGo.wait() }
      let task = Task(executorPreference: executor) { runs.add() }
      executor.loopHasEnded()
      while runs.value == 0 { try await Task.sleep(for: .milliseconds(1)) }
      mayGo.signal()
      await task.value
      try await loop.submit {}.get()
      #expect(runs.value == 1)
    }
  }

  @Test func callbacksOfAnEndedLoopRunElsewhere() async throws {
    let runs = Count()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let reclaimer = RCUReclaimer(named: "ended", Memb.self, runner: .eventLoop(group.next()))
    reclaimer.retire { runs.add() }
    try await group.shutdownGracefully()
    for _ in 0..<10 { reclaimer.retire { runs.add() } }
    await reclaimer.barrier()
    #expect(runs.value == 11)
  }

  @Test func versionsOfABoxAreDestroyedOnTheLoop() async throws {
    try await withPlainGroup { group in
      let loop = group.next(), places = Places()
      let reclaimer = RCUReclaimer(named: "versions", Memb.self, runner: .eventLoop(loop))
      let box = SharedRCUBox(box: RCUBox(Destroyed(on: loop, places), reclaimer: reclaimer))
      for _ in 0..<10 { box.box.publish(Destroyed(on: loop, places)) }
      try await loop.barrier(of: reclaimer).get()
      #expect(places.here.value == 10)
      #expect(places.elsewhere.value == 0)
    }
  }
}

private final class Places: Sendable {
  let here = Count(), elsewhere = Count()
}

/// Notes where it is destroyed.
private final class Destroyed: Sendable {
  private let loop: any EventLoop
  private let places: Places

  init(on loop: any EventLoop, _ places: Places) {
    self.loop = loop
    self.places = places
  }

  deinit {
    if loop.inEventLoop { places.here.add() } else { places.elsewhere.add() }
  }
}
