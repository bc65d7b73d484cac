import Bigref
import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Waits for a module's users that end before the last release. The module stays in service.
@Suite struct EarlyEndTests {
  typealias Argument = SampleModules.Argument
  let manager = ModuleManager()

  private func error(
    _ body: () async throws(ModuleError) -> UnloadOutcome
  ) async -> ModuleError? {
    do {
      let outcome = try await body()
      Issue.record("\(outcome)")
      return nil
    } catch { return error }
  }

  /// Checks that the module works as before: its object can be opened, it counts, and it can be
  /// unloaded.
  private func expectService(_ name: String, of manager: ModuleManager? = nil) async throws {
    let manager = manager ?? self.manager
    #expect(manager.list().map(\.state) == [.live])
    let other = try manager.open("\(name)-object", holder: "client 2")
    #expect(try other.read(from: 0, upTo: 100) == Array("hello".utf8))
    #expect(manager.list()[0].users == 2)
    other.close()
  }

  @Test func waitEndsAtItsTimeLimit() async throws {
    // On a slow machine a grace period may be taken for a stuck one, and would be named as well.
    let manager = ModuleManager(patience: nil)
    try await manager.load(path: SampleModules.publishing("overdue"))
    let object = try manager.open("overdue-object", holder: "client 1")
    for _ in 0..<20 {
      let error = await error { () async throws(ModuleError) in
        try await manager.unload("overdue", ifBusy: .wait, within: .milliseconds(2))
      }
      #expect(
        error?.description
          == "overdue: waited 0.002 seconds, in use: client 1 holds object overdue-object (ETIMEDOUT)")
      #expect(error?.holders.map(\.label) == ["client 1 holds object overdue-object"])
      try await expectService("overdue", of: manager)
    }
    object.close()
    try await manager.unload("overdue")
  }

  @Test func blockingWaitEndsAtItsTimeLimit() async throws {
    try await manager.load(path: SampleModules.publishing("overdue2"))
    let object = try manager.open("overdue2-object", holder: "client 1")
    let manager = manager
    let cancellation = WaitCancellation()
    let events = manager.events()
    async let codes = onThread {
      [Duration.milliseconds(2) as Duration?, nil].map { limit -> Int32 in
        do throws(ModuleError) {
          try manager.unload("overdue2", ifBusy: .wait, within: limit, cancelledBy: cancellation)
          return 0
        } catch { return error.errno }
      }
    }
    var operations = 0
    for await event in events where event.state == .going {
      operations += 1
      if operations == 2 { break }
    }
    cancellation.cancel()
    #expect(await codes == [ETIMEDOUT, EINTR])
    try await expectService("overdue2")
    // It was cancelled before.
    let late = await error { () async throws(ModuleError) in
      try await manager.unload("overdue2", ifBusy: .wait, cancelledBy: cancellation)
    }
    #expect(late?.errno == EINTR)
    try await expectService("overdue2")
    object.close()
    try await manager.unload("overdue2")
  }

  @Test func cancellationEndsTheWait() async throws {
    try await manager.load(path: SampleModules.publishing("deserted"))
    let object = try manager.open("deserted-object", holder: "client 1")
    let manager = manager
    let events = manager.events()
    let task = Task { try await manager.unload("deserted", ifBusy: .wait) }
    for await event in events where event.state == .going { break }
    task.cancel()
    let result = await task.result
    #expect(throws: ModuleError.self) { try result.get() }
    if case .failure(let error as ModuleError) = result { #expect(error.errno == ECANCELED) }
    try await expectService("deserted")
    object.close()
    try await manager.unload("deserted")
  }

  /// The module's own counters are revived together with the reference counter, whether or not they
  /// are zero, and its hooks are called again.
  @Test func everyCounterIsRevivedAfterTheWait() async throws {
    let point = HookPoint<Argument, Memb>(
      "point", argumentType: SampleModules.argumentType, flavor: Memb.self)
    manager.provide(point)
    let path = SampleModules.custom(
      "counters",
      """
      static struct quiescent_bigref *held, *idle;
      static int calls;
      static int hook(void *argument, void *context) {
        (void)argument, (void)context;
        host->bigref_acquire(calls++ == 0 ? held : idle);
        if (calls == 3) { host->bigref_release(held); host->bigref_release(idle); host->bigref_release(idle); }
        return QUIESCENT_ACCEPT;
      }
      static int init(const struct quiescent_host *h, struct quiescent_self *s) {
        host = h; self = s;
        held = h->bigref_create(s, "held");
        idle = h->bigref_create(s, "idle");
        return h->register_hook(s, "point", "\(SampleModules.argumentType)", 0, hook, NULL);
      }
      static int leave(void) {
        return host->bigref_is_zero(held) && host->bigref_is_zero(idle) ? 0 : -EBUSY;
      }
      """, ".init = init, .exit = leave")
    try await manager.load(path: path)
    var argument = Argument()
    #expect(point.dispatch(&argument).called == 1)
    for _ in 0..<3 {
      let error = await error { () async throws(ModuleError) in
        try await manager.unload("counters", ifBusy: .wait, within: .milliseconds(1))
      }
      #expect(error?.errno == ETIMEDOUT && error?.holders.map(\.label) == ["held"])
    }
    for _ in 0..<2 { #expect(point.dispatch(&argument).called == 1) }
    try await manager.unload("counters")
    #expect(!isMapped(path))
  }

  /// The last release and the end of the wait come at the same time: one of them wins, and the
  /// module is either in service or gone.
  @Test func lastPutRacingWithTheTimeLimitHasOneWinner() async throws {
    let path = SampleModules.publishing("racing")
    let manager = manager
    var gone = 0, stayed = 0, round = 0
    while (gone < 20 || stayed < 20) && round < 20_000 {
      round += 1
      if manager.list().isEmpty { try await manager.load(path: path) }
      let object = try manager.open("racing-object", holder: "client")
      let cancellation = WaitCancellation()
      let events = manager.events()
      async let outcome = onThread {
        do throws(ModuleError) {
          try manager.unload("racing", ifBusy: .wait, cancelledBy: cancellation)
          return Int32(0)
        } catch { return error.errno }
      }
      for await event in events where event.state == .going { break }
      let delays = (round % 7, round % 5)
      async let closed: Void = onThread {
        for _ in 0..<(delays.0 * 50) { sched_yield() }
        object.close()
      }
      async let ended: Void = onThread {
        for _ in 0..<(delays.1 * 50) { sched_yield() }
        cancellation.cancel()
      }
      _ = await (closed, ended)
      switch await outcome {
      case 0:
        gone += 1
        #expect(manager.list().isEmpty && !isMapped(path))
      case EINTR:
        stayed += 1
        #expect(manager.list().map(\.state) == [.live])
        #expect(manager.list()[0].users == 0)
      case let code: Issue.record("\(code)")
      }
    }
    #expect(gone >= 20 && stayed >= 20, "\(gone) gone, \(stayed) stayed")
    if !manager.list().isEmpty { try await manager.unload("racing") }
  }

  /// The time from the last put to the answer, as the median of many, is comparable to the time in
  /// which two threads wake each other as often, on the same machine at the same time. A retry loop
  /// would sleep in between.
  @Test(.exclusive) func lastPutEndsTheWaitWithoutPolling() async throws {
    let path = SampleModules.publishing("prompt")
    let manager = manager
    var times: [Duration] = []
    var wakes: [Duration] = []
    for _ in 0..<30 {
      try await manager.load(path: path)
      let object = try manager.open("prompt-object", holder: "client 1")
      let events = manager.events()
      async let end = onThread { () -> ContinuousClock.Instant? in
        do { try manager.unload("prompt", ifBusy: .wait) } catch { return nil }
        return .now
      }
      for await event in events where event.state == .going { break }
      while !manager.objects().isEmpty { await Task.yield() }
      let start = ContinuousClock.now
      object.close()
      times.append(start.duration(to: try #require(await end)))
      let before = ContinuousClock.now
      // A few switches between the manager's thread, its grace periods and the waiter.
      for _ in 0..<10 { await Memb.synchronize() }
      wakes.append(before.duration(to: .now))
    }
    times.sort()
    wakes.sort()
    #expect(times[times.count / 2] < wakes[wakes.count / 2] * 20, "\(times) beside \(wakes)")
  }
}
