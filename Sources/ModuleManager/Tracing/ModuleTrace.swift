internal import Quiescence

/// Follows the events of a manager's modules: references, requests, loads, unloads, and how long
/// each step of these takes.
///
/// ```swift
/// let manager = ModuleManager()
/// let trace = manager.trace()
/// try manager.load(path: "modules/counter.so")
/// for event in trace.read().events { print(event.kind, event.phase, event.module, event.label) }
/// trace.stop()
/// ```
///
/// Tracing is on while there is at least one follower. While it is off, it costs one load per
/// acquired or released reference, and nothing per hook call. While it is on, an event costs its
/// thread about a quarter of a microsecond, mostly for the system call that gets the thread's id.
/// Recording takes no lock and wakes no thread: followers read when they want. The newest events
/// are kept; a follower that reads too slowly learns how many events it has missed. With a
/// ``TraceFilter``, what no follower wants takes no place: references to a busy module would fill
/// the ring.
///
/// Source: Linux kernel/trace/ring_buffer.c (overwrite mode), and the tracepoints of
/// include/trace/events/module.h.
public final class ModuleTrace: Sendable {
  private let tracer: Tracer
  private let follower: TraceFollower
  private let ring: TraceRing
  private let cursor: Locked<UInt64>
  private let isFollowing = Locked(true)

  fileprivate init(_ tracer: Tracer, capacity: Int, _ filter: TraceFilter) {
    self.tracer = tracer
    follower = TraceFollower(filter)
    let (ring, start) = tracer.follow(capacity: capacity, follower)
    self.ring = ring
    cursor = Locked(start)
  }

  deinit { stop() }

  /// The largest number of events that are kept.
  public var capacity: Int { ring.capacity }

  /// How many events did not fit the filter, since this follower began. One load.
  public var leftOut: Int { follower.leftOut }

  /// The events that this follower has not read yet, in order, and how many unread events were
  /// overwritten. Followers share the ring: the overwritten ones may have been another follower's.
  ///
  /// - Parameter limit: the largest number of events to look at; the next read returns the rest.
  /// - Complexity: O(events), with one or two allocations per event. Does not wait: an event that
  ///   its thread is still writing comes with a later read, and so do the events after it.
  /// - Threads: any. Concurrent reads of one follower return different events.
  public func read(upTo limit: Int = .max) -> (events: [TraceEvent], lost: Int) {
    cursor.withLock { cursor in
      let (events, lost) = ring.read(from: &cursor, upTo: max(0, limit))
      return (events.filter(follower.fits), Int(clamping: lost))
    }
  }

  /// Stops following. What was recorded before can still be read. A second call has no effect.
  /// Releasing the last reference to a follower also stops it.
  ///
  /// - Threads: any. Does not wait for threads that are recording.
  public func stop() {
    let isFirst = isFollowing.withLock { isFollowing in
      defer { isFollowing = false }
      return isFollowing
    }
    if isFirst { tracer.unfollow(follower) }
  }
}

extension ModuleManager {
  /// Follows the manager's events from now on. Turns tracing on if it is off.
  ///
  /// - Parameters:
  ///   - capacity: How many unread events are kept, from 1 to 2¹⁷, rounded up to a power of two;
  ///     about 280 bytes each. The first follower sets the capacity; later ones share its ring.
  ///     All rings of a manager have 2¹⁷ places together, including those of followers that have
  ///     stopped and still exist. ``ModuleTrace/capacity`` is how many this one has.
  ///   - filter: Which events it wants. What other followers want takes places of the ring as well.
  /// - Complexity: an allocation of that size.
  /// - Threads: any. An event is recorded if its thread knows that this call has returned.
  public func trace(capacity: Int = 8192, where filter: TraceFilter = TraceFilter()) -> ModuleTrace {
    ModuleTrace(tracer, capacity: min(max(1, capacity), TraceMemory.slots), filter)
  }

  /// Whether there is a follower.
  public var isTraced: Bool { tracer.isOn }
}
