public import _QuiescenceShims

/// Quiescent states of threads whose loop belongs to other code, such as an event loop that only
/// calls handlers.
///
/// ```swift
/// func handle(_ request: Int) {
///   QSBR.unsafeGoOnline()                       // does nothing if the thread is online
///   forward(routes.read { $0 + request })
/// }
/// func loopIsAboutToBlock() {
///   QSBR.unsafeGoOffline()
/// }
/// ```
///
/// A thread that stays online and blocks delays every grace period of the flavor: a quiescent state
/// there is not enough, go offline. A thread that ends is taken offline.
extension QSBR {
  /// Brings the calling thread online, until ``unsafeGoOffline()``. Does nothing if it is online in
  /// this way.
  ///
  /// Traps inside ``withOnlineReader(_:)``.
  ///
  /// - Complexity: a load and a compare if the thread is online; otherwise two full fences. The
  ///   first time on a thread it registers under a lock.
  /// - Threads: any.
  /// - Safety: Sections of `QSBR.read` end as usual, and the compiler checks what they borrow. What
  ///   code keeps from a section by other unsafe means must not be used after the next quiescent
  ///   state.
  @inlinable
  public static func unsafeGoOnline() {
    if qs_qsbr_is_unscoped() { return }
    if qs_qsbr_is_online() { Misuse.qsbrScope("unsafeGoOnline()") }
    qs_qsbr_go_online()
    qs_qsbr_set_unscoped(true)
  }

  /// Takes the calling thread offline: no grace period waits for it. Does nothing if it is offline.
  ///
  /// Traps inside a section, and inside ``withOnlineReader(_:)``.
  ///
  /// - Complexity: two full fences if the thread is online.
  /// - Threads: any.
  /// - Safety: As for ``unsafeGoOnline()``.
  @inlinable
  public static func unsafeGoOffline() {
    if !qs_qsbr_is_online() { return }
    if !qs_qsbr_is_unscoped() { Misuse.qsbrScope("unsafeGoOffline()") }
    qs_qsbr_set_unscoped(false)
    qs_qsbr_go_offline()
  }

  /// Says that the calling thread, which stays online, holds no reference. Does nothing if it is
  /// offline.
  ///
  /// Traps inside a section, and inside ``withOnlineReader(_:)``.
  ///
  /// - Complexity: two loads and two compares; two fences if a grace period waits.
  /// - Threads: any.
  /// - Safety: As for ``unsafeGoOnline()``.
  @inlinable @inline(__always)
  public static func unsafeQuiescentState() {
    if !qs_qsbr_is_unscoped() {
      if !qs_qsbr_is_online() { return }
      Misuse.qsbrScope("unsafeQuiescentState()")
    }
    qs_qsbr_quiescent_state()
  }
}
