internal import _QuiescenceShims

extension Flavor {
  /// Blocks until every section that is open now has been left.
  ///
  /// Traps inside a section of this flavour, where it would wait for itself; an online reader has
  /// ``OnlineReader/synchronize()`` instead.
  ///
  /// - Complexity: O(registered threads) and, under `Memb`, two `membarrier(2)` calls. Concurrent
  ///   callers share grace periods.
  /// - Threads: any. Hold no lock that a reader takes inside a section.
  @available(*, noasync, message: "await synchronize() instead of blocking the task's thread")
  public static func synchronize() {
    if isInside { Misuse.waitInSection("synchronize()", "\(self)") }
    unsafeSynchronize()
  }

  /// Suspends until every section that is open now has been left.
  ///
  /// The reclaimer's thread waits for all tasks that suspended meanwhile at once. It is not
  /// cancelled with the task: a grace period always ends when its readers leave.
  public static func synchronize() async {
    await suspended { reclaimer.afterGracePeriod(.task($0)) }
  }

  /// Calls `waiter` after a grace period; lets several flavours wait at the same time.
  package static func afterGracePeriod(_ waiter: Waiter) {
    reclaimer.afterGracePeriod(waiter)
  }
}

extension Flavor {
  /// Releases `object` after a grace period: until then, readers that found it may use it.
  ///
  /// Unpublish the object first: what readers can still find after this call is not protected.
  ///
  /// - Complexity: a lock and an append, amortized; no wait.
  /// - Threads: any, also inside a section. The object is released on the reclaimer's thread.
  public static func retire<Object: AnyObject & Sendable>(_ object: consuming Object) {
    reclaimer.enqueue(Callback(releasing: object))
  }

  /// Runs `body` after a grace period.
  ///
  /// - Complexity: an allocation, a lock and an append; no wait.
  /// - Threads: any, also inside a section. `body` runs on the reclaimer's thread, outside every section.
  public static func retire(_ body: @escaping @Sendable () -> Void) {
    reclaimer.enqueue(Callback(running: body))
  }

  /// Calls `function` with `argument` after a grace period.
  ///
  /// Unsafe: `argument` must stay valid until then, and so must the code of `function`: see `barrier()`.
  ///
  /// - Complexity: a lock and an append, amortized; no wait.
  /// - Threads: any, also inside a section. `function` runs on the reclaimer's thread.
  public static func unsafeRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    reclaimer.enqueue(Callback(calling: function, with: argument))
  }

  /// Blocks until everything retired before this call has run, and whatever that retires in turn.
  ///
  /// Includes a grace period, even when nothing was retired. Code that is about to be unmapped needs this
  /// after it stopped retiring (Documentation/RCU/rcubarrier.rst). Callbacks that retire themselves
  /// for ever keep it waiting for ever.
  ///
  /// Traps inside a section and inside a retired callback, where it would wait for itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public static func barrier() {
    if isInside { Misuse.waitInSection("barrier()", "\(self)") }
    if qs_thread_reclaims() { Misuse.waitInCallback("barrier()", "\(self)") }
    let parker = Parker()
    reclaimer.afterCallbacks(.thread(parker))
    parker.wait()
  }

  /// Suspends until everything retired before this call has run, and whatever that retires in turn.
  public static func barrier() async {
    await suspended { reclaimer.afterCallbacks(.task($0)) }
  }

  /// Calls `waiter` after a barrier; lets several flavours wait at the same time.
  package static func afterCallbacks(_ waiter: Waiter) {
    reclaimer.afterCallbacks(waiter)
  }
}
