internal import Quiescence

/// Who wants to be told when a count is zero. One at a time: the unload.
package final class ZeroWaiter: Sendable {
  private struct Wait {
    let isZero: @Sendable () -> Bool
    let body: @Sendable () -> Void
  }

  private let waiting = Primitive.Guarded<Wait?>(nil)

  package init() {}

  /// Calls `body` once, at the next ``wake()`` that finds the count at zero; or now, if it is.
  ///
  /// First the body, then the look at the count; who counts down counts first, and then looks for a body. One of the two sees
  /// the other, and both take the body under the lock: it is called once.
  package func wait(isZero: @escaping @Sendable () -> Bool, _ body: @escaping @Sendable () -> Void) {
    waiting.withLock { $0 = Wait(isZero: isZero, body: body) }
    Primitive.fence()
    wake()
  }

  /// The count has been brought to zero. Any thread, also inside sections: the body waits for nothing.
  ///
  /// It looks again. Between the count and this line its caller may sleep as long as it likes:
  ///
  ///     first user: 1 -> 0                second user: 0 -> 1
  ///                                       unload: wait(body), for the second
  ///     first user: wake()
  ///
  /// Without the look the unload would go on under the second user, who wakes it at a zero of its own.
  package func wake() {
    let taken = waiting.withLock { wait in wait?.isZero() == true ? wait.take() : nil }
    taken?.body()
  }

  /// Takes the body off again. False when it has been taken: it has been called, or is about to be.
  ///
  /// Under the lock under which ``wake()`` takes it. A look first, and a store after it, would let a wake in between: what is
  /// given up would go on as well.
  package func giveUp() -> Bool {
    waiting.withLock { $0.take() } != nil
  }
}
