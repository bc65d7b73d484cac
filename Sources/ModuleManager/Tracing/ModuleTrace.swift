internal import Quiescence

/// Follows what happens to a manager's modules: references, requests, loads, unloads, and how long each part of those takes.
///
/// ```swift
/// let manager = ModuleManager()
/// let trace = manager.trace()
/// try manager.load(path: "modules/counter.so")
/// for event in trace.read().events { print(event.kind, event.phase, event.module, event.label) }
/// trace.stop()
/// ```
///
/// Tracing is on while at least one follower is there. Off it costs one load where a reference is taken or given back, and nothing at
/// all where hooks are called. On, an event costs its thread about a quarter of a microsecond, mostly the system call for the thread's id; it
/// takes no lock and wakes nobody: followers look when they like. The newest events stay; a follower that does not keep up is told
/// how many it has missed.
///
/// Source: Linux kernel/trace/ring_buffer.c (overwrite mode), and the tracepoints of module.h.
public final class ModuleTrace: Sendable {
  private let tracer: Tracer
  private let ring: TraceRing
  private let cursor: Locked<UInt64>
  private let isFollowing = Locked(true)

  fileprivate init(_ tracer: Tracer, capacity: Int) {
    self.tracer = tracer
    let (ring, start) = tracer.follow(capacity: capacity)
    self.ring = ring
    cursor = Locked(start)
  }

  deinit { stop() }

  /// How many events are kept at the most.
  public var capacity: Int { ring.capacity }

  /// The events that this follower has not read yet, in order, and how many of those are gone already.
  ///
  /// - Parameter limit: how many at the most; the rest comes with the next read.
  /// - Complexity: O(events), and an allocation or two for each. Does not wait: an event that its thread has not finished
  ///   comes with a later read, and so do those behind it.
  /// - Threads: any; those that read at the same time get different events.
  public func read(upTo limit: Int = .max) -> (events: [TraceEvent], lost: Int) {
    cursor.withLock { cursor in
      let (events, lost) = ring.read(from: &cursor, upTo: max(0, limit))
      return (events, Int(clamping: lost))
    }
  }

  /// Follows no longer; what is recorded already can still be read. The second call does nothing, and so does the end of the
  /// last reference to a follower that was stopped.
  ///
  /// - Threads: any. Does not wait for those who are recording.
  public func stop() {
    let isFirst = isFollowing.withLock { isFollowing in
      defer { isFollowing = false }
      return isFollowing
    }
    if isFirst { tracer.unfollow() }
  }
}

extension ModuleManager {
  /// Switches tracing on, if it is not, and follows it from here on.
  ///
  /// - Parameter capacity: how many events are kept for those who have not read them: from 1 to 2²⁰, rounded up to a power of two;
  ///   about 280 bytes each. While others follow, their ring is shared, and what they asked for counts.
  /// - Complexity: an allocation of that size.
  /// - Threads: any. What threads do after they have seen that this returned is recorded.
  public func trace(capacity: Int = 8192) -> ModuleTrace {
    ModuleTrace(tracer, capacity: min(max(1, capacity), 1 << 20))
  }

  /// Whether anybody follows.
  public var isTraced: Bool { tracer.isOn }
}
