internal import _QuiescenceShims

extension Flavor {
  /// Blocks until every section that is open now has been left.
  ///
  /// Traps inside a section of this flavor, where it would wait for itself; an online reader has
  /// ``OnlineReader/synchronize()`` instead.
  ///
  /// - Complexity: O(registered threads) and, under `Memb`, two `membarrier(2)` calls. Concurrent
  ///   callers share grace periods.
  /// - Threads: any. Hold no lock that a reader takes inside a section.
  @available(*, noasync, message: "await synchronize() instead of blocking the task's thread")
  public static func synchronize() {
    if isInside { Misuse.waitInSection("synchronize()", "\(self)") }
    domain.sequence.wait()
  }

  /// Suspends until every section that is open now has been left.
  ///
  /// A thread of the flavor waits once for all tasks that suspended meanwhile. It runs no callbacks. Cancelling the
  /// task does not end the wait: a grace period ends when its readers leave.
  public static func synchronize() async {
    await suspended { domain.thread.after(.task($0)) }
  }

  /// Calls `waiter` after a grace period; lets several flavors wait at the same time.
  package static func afterGracePeriod(_ waiter: Waiter) {
    domain.thread.after(waiter)
  }
}

extension Flavor {
  /// Releases `object` after a grace period: until then, readers that found it may use it.
  ///
  /// Unpublish the object first: what readers can still find after this call is not protected.
  ///
  /// - Complexity: an append to the thread's own queue: no lock, no cache line that threads share, no wait. Every 64th
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
  /// - Complexity: an append to the thread's own queue: no lock, no cache line that threads share, no wait. Every 64th
  ///   allocates, and the first of a thread takes a lock.
  /// - Threads: any, also inside a section. `function` runs on the reclaimer's thread.
  public static func unsafeRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    enqueue(Callback(calling: function, with: argument))
  }

  /// Destroys `value` after a grace period. For noncopyable values; an object needs no box.
  ///
  /// - Complexity: an allocation and an append to the thread's own queue; no wait.
  /// - Threads: any, also inside a section. The value is destroyed on the reclaimer's thread.
  public static func retireValue<Value: ~Copyable & Sendable>(_ value: consuming Value) {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    enqueue(Callback(destroying: pointer))
  }

  /// Blocks until everything retired before this call has run, and whatever that retires in turn: that of the
  /// flavor's shared ``reclaimer``.
  ///
  /// See ``RCUReclaimer/barrier()-swift.method``. Traps inside a section and inside a retired callback, where it
  /// would wait for itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public static func barrier() { reclaimer.barrier() }

  /// Suspends until everything retired before this call has run, and whatever that retires in turn.
  public static func barrier() async { await reclaimer.barrier() }

  /// Calls `waiter` after a barrier; lets several flavors wait at the same time.
  package static func afterCallbacks(_ waiter: Waiter) { reclaimer.afterCallbacks(waiter) }
}

extension Flavor {
  /// Queues `callback` for after the next grace period. Does not touch the reclaimer: a retain and a release of it
  /// would be two writes to a line that all threads share.
  static func enqueue(_ callback: Callback) {
    // The queue in the place of a flavor of this library is its own: that reclaimer never goes.
    if number >= 0, let queue = qs_thread_retire_queue(UInt32(truncatingIfNeeded: number)) {
      _ = RetireQueue(opaque: queue).append(callback)
    } else {
      _ = reclaimer.core.enqueue(callback)
    }
  }
}
