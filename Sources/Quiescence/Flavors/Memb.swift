public import _QuiescenceShims

/// The default flavor: any thread may read, at two stores to its own memory.
///
/// A thread registers itself at its first read and leaves when it ends. The writer pays for the
/// readers' missing fences with `membarrier(2)`; a grace period takes about a microsecond when
/// nobody reads.
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
  /// - Safety: As for ``Flavor/unsafeLeave()``.
  @inlinable @inline(__always)
  public static func unsafeLeave() { qs_memb_leave() }

  /// Whether the calling thread is inside a section.
  @inlinable
  public static var isInside: Bool { qs_memb_is_inside() }

  /// liburcu's `synchronize_rcu`: concurrent callers share grace periods.
  ///
  /// - Safety: As for ``Flavor/unsafeSynchronize()``.
  public static func unsafeSynchronize() { qs_memb_synchronize() }

  /// The thread `rcu-memb`.
  public static let reclaimer = RCUReclaimer(named: "rcu-memb", defaultOf: Memb.self)
}
