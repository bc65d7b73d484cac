import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Deferred calls and timers of modules: see `quiescent_services.h`.
@Suite(.timeLimit(.minutes(10))) struct DeferredCallTests {
  /// Calls without a delay are made in order, others in the order of their times; the unload makes
  /// those that wait, each once.
  @Test(arguments: UnloadScheme.all)
  func unloadMakesTheCallsThatWait(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = ServiceSamples.module(
      "deferring",
      """
      static long order[2000], count;
      static void note(void *number) { order[count++] = (long)number; }
      static int leave_in_order(void) {
        if (count != 2000) return -ENODATA;
        for (long index = 0; index < 1000; index++) if (order[index] != index) return -EILSEQ;
        // The later ones first.
        for (long index = 1000; index < 2000; index++) if (order[index] != 2999 - index) return -EBADE;
        return services->defer(self, 0, note, NULL) == -EBUSY ? 0 : -EPROTO;
      }

      """,
      initialize: """
        for (long index = 0; index < 1000; index++) {
          int error = services->defer(s, 0, note, (void *)index);
          if (error == 0) error = services->defer(s, (3600 - (uint64_t)index) * SECOND, note, (void *)(1000 + index));
          if (error) return error;
        }
        """, exit: "return leave_in_order();")
    try await scene.manager.load(path: path)
    let outcome = try await scene.manager.unload("deferring", ifBusy: .wait)
    #expect(outcome.isUnmapped)
  }

  @Test func deferredCallComesAfterItsDelay() async throws {
    let scene = Misbehavior()
    let lines = ServiceSamples.logging(scene.manager)
    let path = ServiceSamples.module(
      "delayed",
      """
      #include <time.h>
      static uint64_t now(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
      }
      static uint64_t begin;
      static void note(void *delay) {
        host->log(self, now() - begin >= (uint64_t)delay ? "in time" : "too early");
        calls++;
      }

      """,
      initialize: """
        begin = now();
        for (uint64_t delay = 1; delay <= 3; delay++) {
          int error = services->defer(s, delay * 5000000, note, (void *)(delay * 5000000));
          if (error) return error;
        }
        while (calls < 3) usleep(100);
        """)
    try await scene.manager.load(path: path)
    #expect(lines.all == ["in time", "in time", "in time"])
    #expect(try await scene.manager.unload("delayed").isUnmapped)
  }

  /// From hooks, on several threads, while the module is unloaded: each call that was accepted is
  /// made, and none after `exit`.
  @Test(arguments: UnloadScheme.all)
  func callsDeferredByHooksAreAllMade(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let lines = ServiceSamples.logging(scene.manager)
    let path = ServiceSamples.module(
      "hooked",
      """
      static atomic_long accepted, made;
      static void make(void *unused) { (void)unused; made++; }
      """,
      hook: "if (services->defer(self, a->cookie % 3 ? 0 : SECOND, make, NULL) == 0) accepted++;",
      initialize: "",
      exit: """
        char line[80];
        snprintf(line, sizeof line, "%s", accepted == made ? "equal" : "lost");
        host->log(self, line);
        return 0;
        """)
    let isOver = Counter()
    let point = scene.point
    async let callers: Void = onThreads(2) { index in
      var argument = SampleModules.Argument(calls: 0, cookie: Int32(index))
      while isOver.value == 0 {
        argument.cookie &+= 1
        _ = point.dispatch(&argument)
      }
    }
    for _ in 0..<20 {
      try await scene.manager.load(path: path)
      #expect(try await scene.manager.unload("hooked", ifBusy: .wait).isUnmapped)
    }
    isOver.add(1)
    await callers
    #expect(lines.all == Array(repeating: "equal", count: 20))
  }

  @Test func callsThatWaitAreLimited() async throws {
    let scene = Misbehavior()
    let path = ServiceSamples.module(
      "many", "static void note(void *unused) { (void)unused; calls++; }\n",
      initialize: """
        for (int index = 0; index < 65536; index++)
          if (services->defer(s, 3600 * SECOND, note, NULL)) return -EPROTO;
        if (services->defer(s, 0, note, NULL) != -EAGAIN) return -ENODATA;
        if (services->start_timer(s, SECOND, note, NULL) != -EAGAIN) return -ENODATA;
        """, exit: "return calls == 65536 ? 0 : -ENODATA;")
    try await scene.manager.load(path: path)
    #expect(try await scene.manager.unload("many").isUnmapped)
  }

  // MARK: - Timers

  @Test(arguments: UnloadScheme.all)
  func unloadStopsTimers(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = ServiceSamples.module(
      "ticking",
      """
      // The timer may run before the caller of `start_timer` has its number.
      static _Atomic int64_t own;
      static void tick(void *unused) { (void)unused; running++; calls++; running--; }
      static void once(void *unused) {
        (void)unused;
        if (own != 0) sum += services->stop_timer(self, own) == 0 ? 1 : 1000;
      }
      """,
      initialize: """
        int64_t fast = services->start_timer(s, 1, tick, NULL), slow = services->start_timer(s, 200000, tick, NULL);
        own = services->start_timer(s, 300000, once, NULL);
        if (fast <= 0 || slow <= 0 || own <= 0 || fast == slow) return -EPROTO;
        if (services->start_timer(s, 0, tick, NULL) != -EINVAL) return -EINVAL;
        while (calls < 50 || sum == 0) usleep(100);
        if (services->stop_timer(s, fast) != 0 || services->stop_timer(s, fast) != -ENOENT) return -ENOENT;
        if (services->stop_timer(s, own) != -ENOENT || services->stop_timer(s, -1) != -ENOENT) return -ESRCH;
        """,
      exit:
        "return running == 0 && sum == 1 && services->start_timer(self, 1, tick, NULL) == -EBUSY ? 0 : -EBUSY;"
    )
    try await scene.manager.load(path: path)
    #expect(try await scene.manager.unload("ticking", ifBusy: .wait).isUnmapped)
    #expect(!isMapped(path))
  }

  /// Neither a full queue of calls nor a timer that is always due keeps the other from running.
  @Test func timersAndCallsTakeTurns() async throws {
    let scene = Misbehavior()
    let path = ServiceSamples.module(
      "turns",
      """
      static void again(void *unused) { (void)unused; calls++; services->defer(self, 0, again, NULL); }
      static void tick(void *unused) { (void)unused; sum++; }
      """,
      initialize: """
        services->defer(s, 0, again, NULL);
        services->start_timer(s, 1, tick, NULL);
        while (calls < 1000 || sum < 1000) usleep(100);
        """, exit: "return 0;")
    try await scene.manager.load(path: path)
    #expect(try await scene.manager.unload("turns").isUnmapped)
  }

  /// A refused unload has ended nothing.
  @Test(arguments: UnloadScheme.all)
  func refusedUnloadLeavesServicesRunning(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = ServiceSamples.module(
      "busy",
      ServiceSamples.worker + "static void tick(void *unused) { (void)unused; sum++; }\n",
      hook: "a->cookie = calls; a->calls = (int)sum;",
      initialize: """
        struct quiescent_bigref *user = h->bigref_create(s, "user");
        h->bigref_acquire(user);
        int error = services->start_worker(s, "work", work, &calls);
        if (error || services->start_timer(s, SECOND / 1000, tick, NULL) <= 0) return -EPROTO;
        """)
    try await scene.manager.load(path: path)
    #expect(await scene.unloadError("busy", ifBusy: .fail)?.errno == scheme.busyErrno)
    var argument = SampleModules.Argument()
    _ = scene.point.dispatch(&argument)
    let before = argument
    while argument.cookie <= before.cookie || argument.calls <= before.calls {
      _ = scene.point.dispatch(&argument)
      await Task.yield()
    }
  }
}
