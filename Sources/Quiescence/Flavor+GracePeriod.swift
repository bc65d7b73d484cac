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
    reclaimer.gracePeriods.wait()
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
  /// - Complexity: an append to the thread's own queue: no lock, no cache line that threads share, no wait. Every 256th
  ///   allocates, and the first of a thread takes a lock.
  /// - Threads: any, also inside a section. The object is released on the reclaimer's thread.
  public static func retire<Object: AnyObject & Sendable>(_ object: consuming Object) {
    enqueue(Callback(releasing: object))
  }

  /// Runs `body` after a grace period.
  ///
  /// - Complexity: an allocation and an append to the thread's own queue; no wait.
  /// - Threads: any, also inside a section. `body` runs on the reclaimer's thread, outside every section.
  public static func retire(_ body: @escaping @Sendable () -> Void) {
    enqueue(Callback(running: body))
  }

  /// Calls `function` with `argument` after a grace period.
  ///
  /// Unsafe: `argument` must stay valid until then, and so must the code of `function`: see `barrier()`.
  ///
  /// - Complexity: an append to the thread's own queue: no lock, no cache line that threads share, no wait. Every 256th
  ///   allocates, and the first of a thread takes a lock.
  /// - Threads: any, also inside a section. `function` runs on the reclaimer's thread.
  public static func unsafeRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    enqueue(Callback(calling: function, with: argument))
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

extension Flavor {
  /// The place of the flavour's reclaimer among the queues of each thread; negative for flavours that are not this
  /// library's, whose threads share a locked queue.
  static var retirePlace: Int {
    if self == Memb.self { return 0 }
    if self == QSBR.self { return 1 }
    if self == MB.self { return 2 }
    return self == Bulletproof.self ? 3 : -1
  }

  /// Queues `callback` for after the next grace period. Does not touch the reclaimer: a retain and a release of it
  /// would be two writes to a line that all threads share.
  static func enqueue(_ callback: Callback) {
    let place = retirePlace
    if place >= 0, let queue = qs_thread_retire_queue(UInt32(truncatingIfNeeded: place)) {
      RetireQueue(opaque: queue).append(callback)
    } else {
      reclaimer.enqueueFirst(callback)
    }
  }
}
