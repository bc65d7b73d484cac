import Foundation
import ModuleManager
import Quiescence
import TestSupport
import Testing

/// Workers of modules: see `quiescent_services.h`.
@Suite(.timeLimit(.minutes(10))) struct WorkerTests {
  /// With every scheme: the worker has returned before `exit` is called, and its code is unmapped
  /// after it.
  @Test(arguments: UnloadScheme.all)
  func unloadEndsWorkersBeforeExit(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = ServiceSamples.module(
      "worker", ServiceSamples.worker,
      initialize: """
        int error = services->start_worker(s, "worker/poll", work, &calls);
        if (error == 0) error = services->start_worker(s, NULL, work, &calls);
        while (running < 2 || calls == 0) usleep(100);
        if (error) return error;
        """)
    for _ in 0..<10 {
      try await scene.manager.load(path: path)
      #expect(try await scene.manager.unload("worker", ifBusy: .wait).isUnmapped)
      #expect(!isMapped(path))
    }
  }

  /// A worker that waits without an end is woken; one that has returned by itself is no hindrance.
  @Test func workerThatSleepsIsWoken() async throws {
    let scene = Misbehavior()
    let lines = ServiceSamples.logging(scene.manager)
    let path = ServiceSamples.module(
      "sleeper",
      """
      static void once(void *unused) { (void)unused; calls++; }
      static void sleep_on(void *unused) {
        (void)unused;
        int is_over = services->stop_requested(self, QUIESCENT_FOREVER);
        host->log(self, is_over ? "woken" : "not woken");
      }

      """,
      initialize: """
        int error = services->start_worker(s, "once", once, NULL);
        if (error == 0) error = services->start_worker(s, "sleep", sleep_on, NULL);
        while (calls == 0) usleep(100);
        if (services->stop_requested(s, 0) || error) return error ? error : -EPROTO;
        """,
      exit: "return services->start_worker(self, \"late\", once, NULL) == -EBUSY ? 0 : -EPROTO;")
    try await scene.manager.load(path: path)
    #expect(try await scene.manager.unload("sleeper", ifBusy: .wait).isUnmapped)
    #expect(lines.all == ["woken"])
  }

  /// A worker may release the module's last reference: its code stays until it has returned.
  @Test(arguments: UnloadScheme.all)
  func workerReleasesTheLastReference(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let gate = Misbehavior.Gate()
    let path = ServiceSamples.module(
      "holder",
      """
      static void hold(void *unused) {
        (void)unused;
        \(gate.wait)
        running++;
        host->release(self);
        usleep(2000);
        running--;
      }

      """,
      initialize: """
        if (h->acquire(s)) return -EPROTO;
        int error = services->start_worker(s, "hold", hold, NULL);
        if (error) return error;
        """)
    try await scene.manager.load(path: path)
    #expect(await scene.unloadError("holder", ifBusy: .fail)?.errno == scheme.busyErrno)
    let last = scene.manager.unloadLater("holder", ifBusy: .wait)
    gate.open()
    let outcome = try await last.outcome
    // Start-stop-exit leads nowhere but to another unload when it finds users after its `stop`.
    #expect(outcome.isUnmapped || scheme == .startStopExit)
    if !outcome.isUnmapped { _ = try? await scene.manager.unload("holder", ifBusy: .wait) }
    await scene.whenGone("holder")
    #expect(!isMapped(path))
  }

  /// By force, workers are told before the users have gone.
  @Test(arguments: UnloadScheme.all)
  func forcedUnloadTellsWorkersThatHoldReferences(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let path = ServiceSamples.module(
      "holder",
      """
      static void hold(void *unused) {
        (void)unused;
        running++;
        services->stop_requested(self, QUIESCENT_FOREVER);
        host->release(self);
        running--;
      }

      """,
      initialize: """
        if (h->acquire(s)) return -EPROTO;
        int error = services->start_worker(s, "hold", hold, NULL);
        if (error) return error;
        """)
    try await scene.manager.load(path: path)
    _ = try await scene.manager.unload("holder", ifBusy: .force)
    await scene.whenGone("holder")
    #expect(!isMapped(path))
  }

  @Test func failedInitWaitsForItsWorkers() async throws {
    let scene = Misbehavior()
    let path = ServiceSamples.module(
      "failing", ServiceSamples.worker,
      initialize: """
        services->start_worker(s, "work", work, &calls);
        services->defer(s, 3600 * SECOND, (void (*)(void *))usleep, (void *)1);
        while (calls == 0) usleep(100);
        return -EIO;
        """)
    for _ in 0..<10 {
      #expect(await moduleError { try await scene.manager.load(path: path) }?.errno == EIO)
      await scene.whenGone("failing")
      #expect(!isMapped(path))
    }
  }

  /// A worker that does not return holds up its own module alone; requests end at their limits, and
  /// the state names the thread.
  @Test(arguments: UnloadScheme.all)
  func workerThatHangsHoldsUpItsModuleAlone(_ scheme: UnloadScheme) async throws {
    let scene = Misbehavior(scheme)
    let gate = Misbehavior.Gate()
    let path = ServiceSamples.module(
      "stuck", "static void hang(void *unused) { (void)unused; running++; \(gate.wait) running--; }\n",
      initialize: """
        int error = services->start_worker(s, "stuck/hang", hang, NULL);
        while (running == 0) usleep(100);
        if (error) return error;
        """)
    try await scene.manager.load(path: path)
    let late = await scene.unloadError("stuck", inside: .services)
    #expect(late?.errno == ETIMEDOUT)
    #expect(
      late?.reason.contains("its workers and deferred calls have not returned for ") == true, "\(late as Any)"
    )
    let thread = try #require(scene.status("stuck")?.activity?.thread)
    let comm = try String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8)
    #expect(comm == "stuck/hang\n")
    try await scene.expectOthersGoOn()
    let last = scene.manager.unloadLater("stuck", ifBusy: .wait)
    gate.open()
    #expect(try await last.outcome.isUnmapped)
    #expect(!isMapped(path))
  }
}
