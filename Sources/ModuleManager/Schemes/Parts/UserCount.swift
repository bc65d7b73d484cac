internal import Quiescence

/// A plain count of users. A thread that calls `get` has made sure by other means that the module
/// is there.
package final class UserCount: UserWait {
  private let count = Primitive.Word(0)
  private let waiter = ZeroWaiter()

  package init() {}

  package var value: Int { count.load(ordering: .sequentiallyConsistent) }

  package func get() { count.add(1, ordering: .sequentiallyConsistent) }

  package func put() {
    let now = count.subtract(1, ordering: .sequentiallyConsistent).newValue
    precondition(now >= 0, "a module was released more often than acquired")
    if now == 0 { waiter.wake() }
  }

  /// Calls `body` once when the count is zero: at once, or on the thread of the last user.
  package func whenZero(_ body: @escaping @Sendable () -> Void) {
    waiter.wait(isZero: { [self] in value == 0 }, body)
  }

  /// Ends the wait of ``whenZero(_:)``. Returns false if `body` was called, or is about to be.
  package func giveUp() -> Bool { waiter.giveUp() }
}
