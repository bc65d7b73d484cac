internal import Quiescence

/// A count of users that starts with the owner's base reference, so that zero is impossible until the owner gives it up; and
/// once it is zero, nobody counts any more.
///
/// Source: Linux kernel/module/main.c, `MODULE_REF_BASE`, `try_release_module_ref`.
package final class BaseCount: UserWait {
  private let count: Primitive.Word
  private let hasBase = Primitive.Flag(true)
  private let waiter = ZeroWaiter()

  /// - Parameter bias: So much more than there is, until ``add(_:)`` takes it out.
  package init(bias: Int = 0) { count = Primitive.Word(bias + 1) }

  /// Without the base.
  package var users: Int {
    count.load(ordering: .sequentiallyConsistent) - (hasBase.load(ordering: .relaxed) ? 1 : 0)
  }

  /// Counts one more unless the count is zero.
  package func get() -> Bool { addUnlessZero(1) }

  package func put() {
    let now = count.subtract(1, ordering: .sequentiallyConsistent).newValue
    precondition(now >= 0, "a module was released that nobody had acquired")
    if now == 0 { waiter.wake() }
  }

  package func add(_ difference: Int) { count.wrappingAdd(difference, ordering: .sequentiallyConsistent) }

  /// Gives the base up if it is all there is. After true the count is zero, and stays it.
  package func releaseBaseIfUnused() -> Bool {
    if count.subtract(1, ordering: .sequentiallyConsistent).newValue != 0 {
      // Unless it became zero in between: then somebody may have failed to count, and the unload has won. A plain addition
      // would leave a module that serves on, and has refused a user.
      if addUnlessZero(1) { return false }
    }
    hasBase.store(false, ordering: .relaxed)
    return true
  }

  /// Gives the base up, and calls `body` once when the count is zero: now, or on the thread of the last user.
  package func whenZero(_ body: @escaping @Sendable () -> Void) {
    hasBase.store(false, ordering: .relaxed)
    count.subtract(1, ordering: .sequentiallyConsistent)
    waiter.wait(isZero: { [self] in count.load(ordering: .sequentiallyConsistent) == 0 }, body)
  }

  /// Takes the base back that ``whenZero(_:)`` gave up. False when the count is zero: its body has been called, or is about to be.
  ///
  /// The addition decides. A plain one could come after the last put and before that put's wake, which would find a count that is
  /// not zero; or after the wake, and a module that is on its way out would take users.
  package func giveUp() -> Bool {
    if !addUnlessZero(1) { return false }
    hasBase.store(true, ordering: .relaxed)
    // Behind the addition nobody finds zero, so nobody has taken it; with the base there, nobody will.
    _ = waiter.giveUp()
    return true
  }

  /// From zero, when whoever acts on that is the caller: after ``releaseBaseIfUnused()``, and in what ``whenZero(_:)`` has called, or
  /// behind that. There will be users again.
  package func restoreBase() {
    hasBase.store(true, ordering: .relaxed)
    count.add(1, ordering: .sequentiallyConsistent)
  }

  private func addUnlessZero(_ difference: Int) -> Bool {
    var old = count.load(ordering: .relaxed)
    while old != 0 {
      let (isDone, now) = count.weakCompareExchange(
        expected: old, desired: old + difference, ordering: .sequentiallyConsistent)
      if isDone { return true }
      old = now
    }
    return false
  }
}
