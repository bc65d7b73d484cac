public import _QuiescenceShims

/// Explicit quiescent states: reads that cost nothing, for threads that run a loop of their own.
///
/// A thread is one long reader from going online to going offline, and says in between when it
/// holds nothing. A thread that stays online and blocks holds up every grace period of the process.
///
/// ```swift
/// QSBR.withOnlineReader { reader in
///   while running {
///     forward(routes.load(reader).value)
///     reader.quiescentState()
///     reader.offline { poll() }
///   }
/// }
/// ```
///
/// Source: liburcu, `urcu/static/urcu-qsbr.h`.
public enum QSBR: Flavor {
  /// Nests in an online reader; a thread that is not online traps, since nothing would protect it.
  ///
  /// The token is what the thread was in before. Two plain stores: see `qs_qsbr_enter_from`.
  ///
  /// - Safety: As for ``Flavor/unsafeEnter()``.
  @inlinable @inline(__always)
  public static func unsafeEnter() -> UInt32 {
    let outside = qs_qsbr_enter_from()
    // A thread that is online through other code is online as well.
    if outside == 0 && !qs_qsbr_is_online() { Misuse.qsbrReadOffline() }
    return outside
  }

  /// Ends the nested section; the thread stays online.
  ///
  /// - Safety: As for ``Flavor/unsafeLeave(_:)``.
  @inlinable @inline(__always)
  public static func unsafeLeave(_ token: UInt32) { qs_qsbr_leave_to(token) }

  /// Whether the calling thread is online: all of its online time is a section.
  @inlinable
  public static var isInside: Bool { qs_qsbr_is_online() }

  /// liburcu's `synchronize_rcu`: puts an online caller offline meanwhile.
  ///
  /// - Safety: As for ``Flavor/unsafeSynchronize()``.
  public static func unsafeSynchronize() { qs_qsbr_synchronize() }

  /// The threads `rcu-qsbr` and `gp-qsbr`.
  public static let domain = FlavorDomain(QSBR.self, named: "qsbr", number: Int(QS_QSBR.rawValue))

  /// Brings the thread online, runs `body` with its reader, and takes it offline again.
  ///
  /// Traps when the thread is online already: the outer reader's references would end with the
  /// inner reader's quiescent states.
  ///
  /// - Complexity: O(1), two full fences; the first time on a thread it registers under a lock.
  /// - Threads: any. `body` runs on the calling thread.
  public static func withOnlineReader<Result: ~Copyable, Failure: Error>(
    _ body: (inout OnlineReader) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if qs_qsbr_is_online() { Misuse.qsbrOnlineTwice() }
    var reader = OnlineReader(goingOnline: ())
    return try body(&reader)
  }
}
