internal import _QuiescenceShims

extension RCUReclaimer {
  /// Blocks until everything retired before this call has run, and whatever that retires in turn.
  ///
  /// *Everything* is what any thread retired through this reclaimer, wherever it runs: on the
  /// reclaimer's thread or executor, inline at a limit, or in a barrier. *In turn* is what such a
  /// callback retires to any reclaimer, cohort, flavor or domain, and what that retires. A callback
  /// that has run by the time of the call counts too: what it retired in turn has run when the call
  /// returns.
  ///
  /// Includes a grace period, even when nothing was retired. Code that is about to be unmapped
  /// needs this after it stopped retiring (Documentation/RCU/rcubarrier.rst). Callbacks that retire
  /// themselves for ever keep it waiting for ever; other threads that retire meanwhile do not.
  ///
  /// Traps inside a section and inside a retired callback, where it would wait for itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public func barrier() {
    core.gracePeriods.checkNotInside("barrier()")
    wait("barrier()")
  }

  /// Suspends until everything retired before this call has run, and whatever that retires in turn.
  ///
  /// As `barrier()`. A cohort's callbacks, and those of a domain, run in the calling task;
  /// they need no thread.
  public func barrier() async { await core.callbacksEnd() }

  /// Blocks until everything retired before this call has run, and whatever that retires in turn,
  /// and the reclaimer's thread has ended.
  ///
  /// For an orderly end. When it returns, the thread that ran at the call has left its last
  /// callback and touches nothing of the reclaimer any more; the operating system may still be
  /// taking the thread down. A callback that other threads retired meanwhile, or retire later,
  /// starts another thread: `shutdown()` is bounded by what was queued at the call, and does not
  /// wait for them. A cohort and a domain share their thread with others, and leave it alone. Traps
  /// as `barrier()` does.
  @available(*, noasync, message: "await shutdown() instead of blocking the task's thread")
  public func shutdown() {
    core.gracePeriods.checkNotInside("shutdown()")
    wait("shutdown()")
    if core.sharesRunner { return }
    let parker = Parker()
    core.runner.afterEnd(.thread(parker))
    parker.wait()
  }

  /// Suspends until everything retired before this call has run, and the reclaimer's thread has
  /// ended.
  ///
  /// As `shutdown()`.
  public func shutdown() async {
    await barrier()
    if !core.sharesRunner { await suspended { core.runner.afterEnd(.task($0)) } }
  }

  private func wait(_ what: String) {
    if qs_thread_reclaims() { Misuse.waitInCallback(what, core.gracePeriods.title) }
    core.waitForCallbacks()
  }

  /// Calls `waiter` when everything retired before this call has run, and whatever that retires in
  /// turn. The runner runs it; so `waiter` waits for nothing else that calls this.
  package func afterCallbacks(_ waiter: Waiter) { core.closeSet().whenEmpty(waiter) }

  /// As ``barrier()-(Void)`` of each of them, which are cohorts: the calling thread runs their
  /// callbacks, and those of one flavor share grace periods.
  package static func barrier(ofCohorts cohorts: [RCUReclaimer]) {
    ReclaimerCore.waitForCallbacks(of: cohorts.map(\.core))
  }
}
