public import _QuiescenceShims

/// The default flavor: any thread may read, at two stores to its own memory.
///
/// A thread registers itself at its first read and is taken off when it ends. The writer pays for
/// the readers' missing fences with `membarrier(2)`; a grace period takes about a microsecond while
/// no thread reads.
///
/// Limits:
///
/// - Signal handlers may read on threads that have read before: see ``Flavor/registerThread()``. A
///   first read takes locks and may allocate, and waits for ever when the handler has interrupted
///   malloc, or a `synchronize()` of the same thread.
/// - Destructors of pthread keys may read, in every round. Once the thread is taken off, each
///   further section takes two locks.
/// - A seccomp filter may forbid `membarrier(2)` until the first use of the flavor: then liburcu
///   uses full fences on both sides. A filter that forbids it later ends the process at the next
///   grace period, with "Unrecoverable error" by liburcu or "membarrier(2) has worked before" by
///   this library.
/// - Other code may use liburcu-memb beside this library. It must not register a thread that has
///   read through this library (liburcu aborts: `Assertion !registered failed`), nor unregister one
///   inside a section. It must not fork while it is inside liburcu's `synchronize_rcu` on another
///   thread: the library holds up forks during its own grace periods, not during those that other
///   code runs, and the child would find liburcu's locks taken.
///
/// Source: liburcu, `urcu/static/urcu-memb.h`.
public enum Memb: Flavor {
  /// Two stores to the thread's own memory; the first time on a thread it registers, under a lock.
  ///
  /// - Safety: As for ``Flavor/unsafeEnter()``.
  @inlinable @inline(__always)
  public static func unsafeEnter() { qs_memb_enter() }

  /// One store; wakes a grace period that sleeps for this thread.
  ///
  /// - Safety: As for ``Flavor/unsafeLeave(_:)``.
  @inlinable @inline(__always)
  public static func unsafeLeave(_: Void) { qs_memb_leave() }

  /// Whether the calling thread is inside a section.
  @inlinable
  public static var isInside: Bool { qs_memb_is_inside() }

  /// liburcu's `synchronize_rcu`: concurrent callers share grace periods.
  ///
  /// - Safety: As for ``Flavor/unsafeSynchronize()``.
  public static func unsafeSynchronize() { qs_memb_synchronize() }

  /// The threads `rcu-memb` and `gp-memb`.
  public static let domain = FlavorDomain(Memb.self, named: "memb", number: Int(QS_MEMB.rawValue))
}
