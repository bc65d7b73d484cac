public import _QuiescenceShims

/// Reads from anywhere, signal handlers and the destructors of ending threads included.
///
/// A read costs one more indirection than under ``Memb``. liburcu registers the thread itself, in
/// memory that outlives it. In exchange grace periods are not shared, and one that meets a reader
/// waits in steps of 10 ms, with every signal blocked.
///
/// - In a signal handler, the first read of a thread takes two locks, neither of which is ever held
///   with signals unblocked, and does not allocate. The exception is a process in which 32 pthread
///   keys were made before this library was loaded, as by `dlopen`: there, call
///   ``Flavor/registerThread()`` first.
/// - In destructors of pthread keys, in every round. Once the thread's end has been seen, each
///   further section takes a lock. A thread that reads in the last round leaves behind 256 bytes in
///   liburcu, which are never used again.
/// - A seccomp filter and other code that uses or forks in liburcu: as under ``Memb``.
///
/// Source: liburcu, `urcu/static/urcu-bp.h`.
public enum Bulletproof: Flavor {
  /// Two stores; the first time on a thread it registers, under a lock with all signals blocked.
  ///
  /// - Safety: As for ``Flavor/unsafeEnter()``.
  @inlinable @inline(__always)
  public static func unsafeEnter() { qs_bp_enter() }

  /// One store.
  ///
  /// - Safety: As for ``Flavor/unsafeLeave(_:)``.
  @inlinable @inline(__always)
  public static func unsafeLeave(_: Void) { qs_bp_leave() }

  /// Whether the calling thread is inside a section.
  @inlinable
  public static var isInside: Bool { qs_bp_is_inside() }

  /// liburcu's `synchronize_rcu`: concurrent callers take turns.
  ///
  /// - Safety: As for ``Flavor/unsafeSynchronize()``.
  public static func unsafeSynchronize() { qs_bp_synchronize() }

  /// The threads `rcu-bp` and `gp-bp`.
  public static let domain = FlavorDomain(Bulletproof.self, named: "bp", number: Int(QS_BP.rawValue))
}
