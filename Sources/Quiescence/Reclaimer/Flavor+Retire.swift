internal import _QuiescenceShims

extension Flavor {
  /// Releases `object` after a grace period: until then, readers that found it may use it.
  ///
  /// Unpublish the object first: what readers can still find after this call is not protected.
  ///
  /// - Complexity: an append to the thread's own queue: no lock, no cache line that threads share,
  ///   no wait. Every 64th allocates, and the first after a pause takes a lock. At the reclaimer's
  ///   ``RCUReclaimer/limit`` it waits, outside sections and updates.
  /// - Threads: any, also inside a section. The object is released on the reclaimer's thread.
  public static func retire<Object: AnyObject & Sendable>(_ object: consuming Object) {
    enqueue(Callback(releasing: object))
  }

  /// Runs `body` after a grace period.
  ///
  /// - Complexity: an allocation, and as ``retire(_:)-(Object)``.
  /// - Threads: any, also inside a section. `body` runs on the reclaimer's thread, outside every
  ///   section.
  public static func retire(_ body: @escaping @Sendable () -> Void) {
    enqueue(Callback(running: body))
  }

  /// Calls `function` with `argument` after a grace period.
  ///
  /// - Safety: `argument` must stay valid until then, and so must the code of `function`: see
  ///   `barrier()`.
  /// - Complexity: as ``retire(_:)-(Object)``.
  /// - Threads: any, also inside a section. `function` runs on the reclaimer's thread.
  public static func unsafeRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    enqueue(Callback(calling: function, with: argument))
  }

  /// Destroys `value` after a grace period. For noncopyable values; an object needs no box.
  ///
  /// - Complexity: an allocation, and as ``retire(_:)-(Object)``.
  /// - Threads: any, also inside a section. The value is destroyed on the reclaimer's thread.
  public static func retireValue<Value: ~Copyable & Sendable>(_ value: consuming Value) {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    enqueue(Callback(destroying: pointer))
  }

  /// Has `type` reclaim what is at `pointer` after a grace period. No allocation.
  @usableFromInline
  package static func unsafeRetire(_ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type) {
    enqueue(Callback(reclaiming: pointer, by: type))
  }

  /// Blocks until everything that was retired to the flavor's shared ``reclaimer`` before this call
  /// has run, and whatever that retires in turn.
  ///
  /// See `RCUReclaimer.barrier()`. Traps inside a section and inside a retired
  /// callback, where it would wait for itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public static func barrier() { reclaimer.barrier() }

  /// Suspends until everything that was retired to the flavor's shared ``reclaimer`` before this
  /// call has run, and whatever that retires in turn.
  public static func barrier() async { await reclaimer.barrier() }
}

extension Flavor {
  /// Queues `callback` for after the next grace period. Does not touch the reclaimer: a retain and
  /// a release of it would be two writes to a line that all threads share.
  static func enqueue(_ callback: Callback) {
    // Only the reclaimer of a flavor of this library takes that place, and it never goes.
    if let place, let queue = qs_thread_retire_queue(place) {
      _ = RetireQueue(opaque: queue).append(callback)
    } else {
      _ = reclaimer.core.enqueue(callback)
    }
  }

  /// Where the queue is in each thread's table, for the flavors of this library.
  @inline(__always)
  private static var place: UInt32? {
    if self == Memb.self { return QS_MEMB.rawValue }
    if self == QSBR.self { return QS_QSBR.rawValue }
    if self == MB.self { return QS_MB.rawValue }
    return self == Bulletproof.self ? QS_BP.rawValue : nil
  }
}
