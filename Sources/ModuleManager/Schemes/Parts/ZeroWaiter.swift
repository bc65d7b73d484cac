internal import Quiescence

/// Who wants to be told when a count is zero. One at a time: the unload.
package final class ZeroWaiter: Sendable {
  private let body = Primitive.Guarded<(@Sendable () -> Void)?>(nil)

  package init() {}

  /// Calls `body` once, at the next ``wake()``; or now, if the count is zero.
  ///
  /// First the body, then the look at the count; who counts down counts first, and then looks for a body. One of the two sees
  /// the other, and both take the body under the lock: it is called once.
  package func wait(isZero: () -> Bool, _ body: @escaping @Sendable () -> Void) {
    self.body.withLock { $0 = body }
    Primitive.fence()
    if isZero() { wake() }
  }

  /// The count has been brought to zero. Any thread, also inside sections: the body waits for nothing.
  package func wake() { body.withLock { $0.take() }?() }
}
