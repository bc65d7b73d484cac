internal import Quiescence

/// The waiter for a count's zero. One at a time: the unload.
package final class ZeroWaiter: Sendable {
  private struct Wait {
    let isZero: @Sendable () -> Bool
    let body: @Sendable () -> Void
  }

  private let waiting = Primitive.Guarded<Wait?>(nil)

  package init() {}

  /// Calls `body` once: at the next ``wake()`` that finds the count at zero, or at once if it is
  /// zero.
  ///
  /// waiter: stores the body, then loads the count. releaser: stores the count, then looks for a
  /// body. At least one of the two sees the other's store, and both take the body under the lock,
  /// so it is called once.
  package func wait(isZero: @escaping @Sendable () -> Bool, _ body: @escaping @Sendable () -> Void) {
    waiting.withLock { $0 = Wait(isZero: isZero, body: body) }
    Primitive.fence()
    wake()
  }

  /// Call this after the count has reached zero. Any thread, also inside sections: the body does
  /// not wait.
  ///
  /// It tests the count again, because its caller may be interrupted between the count and this
  /// call:
  ///
  ///     first user: 1 -> 0                second user: 0 -> 1
  ///                                       unload: wait(body), for the second
  ///     first user: wake()
  ///
  /// Without the second test, the unload would continue while there is a second user, whose own
  /// release will wake it.
  package func wake() {
    let taken = waiting.withLock { wait in wait?.isZero() == true ? wait.take() : nil }
    taken?.body()
  }

  /// Removes the body. Returns false if it was taken: it was called, or is about to be.
  ///
  /// Under the lock under which ``wake()`` takes the body. If this were a load and then a store, a
  /// wakeup between the two would call a body that was given up.
  package func giveUp() -> Bool {
    waiting.withLock { $0.take() } != nil
  }
}
