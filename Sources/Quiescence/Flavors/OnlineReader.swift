public import _QuiescenceShims

/// A thread's time online under ``QSBR``, from one quiescent state to the next.
///
/// What is loaded with it stays valid until the next ``quiescentState()``, ``offline(_:)`` or
/// ``synchronize()``; none of them compiles while anything is still borrowed.
public struct OnlineReader: ~Copyable, ~Escapable {
  @_lifetime(immortal)
  init(goingOnline: Void) {
    qs_qsbr_go_online()
  }

  deinit {
    qs_qsbr_go_offline()
  }

  /// Says that this thread holds no reference: a grace period that waits for it may go on.
  ///
  /// Call it once a round of the loop. Traps inside `QSBR.read`, whose references it would end.
  ///
  /// - Complexity: a load and a compare; two fences when a grace period waits.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func quiescentState() {
    if qs_qsbr_depth() != 0 { Misuse.quiescentStateInSection() }
    qs_qsbr_quiescent_state()
  }

  /// Runs `body` offline: around everything that blocks. No grace period waits for this thread
  /// meanwhile, and reading under `QSBR` inside `body` traps.
  ///
  /// - Complexity: four full fences.
  @inlinable
  @_lifetime(self: copy self)
  public mutating func offline<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if qs_qsbr_depth() != 0 { Misuse.quiescentStateInSection() }
    qs_qsbr_go_offline()
    defer { qs_qsbr_go_online() }
    return try body()
  }

  /// Waits for a grace period, being offline meanwhile. Blocks.
  @_lifetime(self: copy self)
  public mutating func synchronize() {
    offline { QSBR.domain.sequence.wait() }
  }
}
