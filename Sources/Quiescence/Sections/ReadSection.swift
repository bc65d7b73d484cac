/// Proof that the thread is inside a read-side critical section; leaves it when it ends.
///
/// Nobody makes one: ``Flavor/read(_:)`` and ``QSBR/withOnlineReader(_:)`` lend one to their body.
/// It cannot be copied, escape the body, or be sent to another thread.
public struct ReadSection<F: Flavor>: ~Copyable, ~Escapable {
  @inlinable @inline(__always)
  @_lifetime(immortal)
  init(entering: Void) {
    F.unsafeEnter()
  }

  deinit {
    F.unsafeLeave()
  }
}
