/// A way to tell when every reader has let go: one flavor of liburcu, as a caseless enum.
///
/// A flavor is chosen by its read side. ``Memb`` asks nothing of a thread and costs two stores a
/// read. ``QSBR`` costs nothing a read, and asks each thread to say when it holds no reference.
/// ``MB`` has cheap grace periods and fences in its reads; ``Bulletproof`` may be read from anywhere.
/// Grace periods of different flavors are independent: a section of one does not hold up another.
///
/// Source: liburcu, `urcu/urcu-memb.h`, `urcu-mb.h`, `urcu-bp.h`, `urcu-qsbr.h`.
public protocol Flavor: SendableMetatype {
  /// Enters a read-side critical section on the calling thread. Sections nest.
  ///
  /// Prefer ``read(_:)``, which is always balanced.
  ///
  /// - Safety: Call ``unsafeLeave()`` once for each call, on the same thread. Until then no later
  ///   grace period ends.
  static func unsafeEnter()

  /// Leaves the innermost section of the calling thread.
  ///
  /// - Safety: Only the thread that has entered may leave, once for each ``unsafeEnter()``. What it
  ///   has borrowed in the section may be freed at once.
  static func unsafeLeave()

  /// Whether the calling thread is inside a section, so that waiting for a grace period would wait
  /// for itself. Any thread; a load.
  static var isInside: Bool { get }

  /// Waits for a grace period without a check that the caller is outside every section.
  ///
  /// Prefer `synchronize()`, which traps inside a section.
  ///
  /// - Safety: The caller must be outside every section of the flavor. Inside a section this never
  ///   returns (``Memb``), or it ends the section silently, so that borrowed values may be freed
  ///   (``QSBR``).
  static func unsafeSynchronize()

  /// Runs what is retired under this flavor by default: one made with ``RCUReclaimer/init(named:defaultOf:)``, once.
  static var reclaimer: RCUReclaimer { get }
}

extension Flavor {
  /// Runs `body` inside one read-side critical section.
  ///
  /// Whatever is loaded with the section stays valid until `body` returns, and cannot leave it:
  /// the compiler refuses to return, store or capture it, and to suspend inside.
  ///
  /// - Complexity: O(1); no allocation, no lock, no call. The first read of a thread registers it.
  /// - Threads: any; `QSBR` only online, see ``QSBR/withOnlineReader(_:)``.
  @inlinable @inline(__always)
  public static func read<Result: ~Copyable, Failure: Error>(
    _ body: (inout ReadSection<Self>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    var section = ReadSection<Self>(entering: ())
    return try body(&section)
  }
}
