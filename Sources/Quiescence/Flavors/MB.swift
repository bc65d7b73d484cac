public import _QuiescenceShims

/// Fences on the read side, no system call on the write side: for many updates and few reads, and
/// for systems that forbid `membarrier(2)`.
///
/// A read costs two full fences; a grace period takes a fraction of a microsecond while no thread
/// reads. Threads register themselves as under ``Memb``.
///
/// Limits: as those of ``Memb`` for signal handlers, destructors and other code that uses liburcu.
/// `membarrier(2)` is not called by what uses `MB` alone, also in its reclaimers: a seccomp filter
/// that the process installs may kill for it. But the libraries call it once when they are loaded:
/// a filter that the process starts under has to answer with an error, as `EPERM`.
///
/// Source: liburcu, `urcu/static/urcu-mb.h`.
public enum MB: Flavor {
  /// A store to the thread's own memory and a full fence; the first time on a thread it registers,
  /// under a lock.
  ///
  /// - Safety: As for ``Flavor/unsafeEnter()``.
  @inlinable @inline(__always)
  public static func unsafeEnter() { qs_mb_enter() }

  /// Two full fences and a store; wakes a grace period that sleeps for this thread.
  ///
  /// - Safety: As for ``Flavor/unsafeLeave(_:)``.
  @inlinable @inline(__always)
  public static func unsafeLeave(_: Void) { qs_mb_leave() }

  /// Whether the calling thread is inside a section.
  @inlinable
  public static var isInside: Bool { qs_mb_is_inside() }

  /// liburcu's `synchronize_rcu`: concurrent callers share grace periods.
  ///
  /// - Safety: As for ``Flavor/unsafeSynchronize()``.
  public static func unsafeSynchronize() { qs_mb_synchronize() }

  /// The threads `rcu-mb` and `gp-mb`.
  public static let domain = FlavorDomain(MB.self, named: "mb", number: Int(QS_MB.rawValue))
}
