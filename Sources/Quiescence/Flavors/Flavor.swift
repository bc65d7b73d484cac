/// A way to tell when every reader has left: one flavor of liburcu, as a caseless enum.
///
/// A flavor is chosen by its read side. ``Memb`` asks nothing of a thread and costs two stores a
/// read. ``QSBR`` costs nothing a read, and asks each thread to say when it holds no reference.
/// ``MB`` has cheap grace periods and fences in its reads; ``Bulletproof`` may be read from
/// anywhere. Grace periods of different flavors are independent: a section of one does not hold up
/// another.
///
/// Source: liburcu, `urcu/urcu-memb.h`, `urcu-mb.h`, `urcu-bp.h`, `urcu-qsbr.h`.
public protocol Flavor: SendableMetatype {
  /// What ``unsafeEnter()`` gives to ``unsafeLeave(_:)``; `Void` for a flavor that keeps the depth
  /// of its sections in memory of the thread.
  associatedtype Token = Void

  /// Enters a read-side critical section on the calling thread. Sections nest.
  ///
  /// Prefer ``read(_:)``, which is always balanced.
  ///
  /// - Safety: Call ``unsafeLeave(_:)`` once for each call, on the same thread. Until then no later
  ///   grace period ends.
  static func unsafeEnter() -> Token

  /// Leaves the section that `token` is from.
  ///
  /// - Safety: Only the thread that has entered may leave, once for each ``unsafeEnter()``. What it
  ///   has borrowed in the section may be freed at once. With a token other than `Void`, a thread
  ///   leaves its sections in the reverse order of entering them.
  static func unsafeLeave(_ token: Token)

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

  /// The flavor's grace periods and reclaimer: a static constant.
  static var domain: FlavorDomain { get }
}

extension Flavor where Token == Void {
  /// Leaves the innermost section of the calling thread.
  ///
  /// - Safety: As for ``Flavor/unsafeLeave(_:)``.
  @inlinable @inline(__always)
  public static func unsafeLeave() { unsafeLeave(()) }
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
    let token = unsafeEnter()
    defer { unsafeLeave(token) }
    var section = ReadSection<Self>(entered: ())
    return try body(&section)
  }
}
