internal import Quiescence

/// A count of users that starts with the owner's base reference. It cannot reach zero before the
/// owner releases the base. Once it is zero, gets fail.
///
/// Source: Linux kernel/module/main.c, `MODULE_REF_BASE`, `try_release_module_ref`.
package final class BaseCount: UserWait {
  private let count: Primitive.Word
  private let hasBase = Primitive.Flag(true)
  private let waiter = ZeroWaiter()

  /// - Parameter bias: An amount above the true count, which ``add(_:)`` removes later.
  package init(bias: Int = 0) { count = Primitive.Word(bias + 1) }

  /// The number of users, without the base.
  package var users: Int {
    count.load(ordering: .sequentiallyConsistent) - (hasBase.load(ordering: .relaxed) ? 1 : 0)
  }

  /// Adds a user unless the count is zero.
  package func get() -> Bool { addUnlessZero(1) }

  package func put() {
    let now = count.subtract(1, ordering: .sequentiallyConsistent).newValue
    precondition(now >= 0, "a module was released more often than acquired")
    if now == 0 { waiter.wake() }
  }

  package func add(_ difference: Int) { count.wrappingAdd(difference, ordering: .sequentiallyConsistent) }

  /// Releases the base if there are no users. Returns true if the count is now permanently zero.
  package func releaseBaseIfUnused() -> Bool {
    if count.subtract(1, ordering: .sequentiallyConsistent).newValue != 0 {
      // The base is added back only if the count is not zero. If it is zero, a get may have failed
      // in between, and the unload has won. A plain addition would keep the module in service,
      // although it has refused a user.
      if addUnlessZero(1) { return false }
    }
    hasBase.store(false, ordering: .relaxed)
    return true
  }

  /// Releases the base, and calls `body` once when the count is zero: at once, or on the thread of
  /// the last user.
  package func whenZero(_ body: @escaping @Sendable () -> Void) {
    hasBase.store(false, ordering: .relaxed)
    count.subtract(1, ordering: .sequentiallyConsistent)
    waiter.wait(isZero: { [self] in count.load(ordering: .sequentiallyConsistent) == 0 }, body)
  }

  /// Takes back the base that ``whenZero(_:)`` has released. Returns false if the count is zero:
  /// then `body` was called, or is about to be.
  ///
  /// The addition decides. A plain addition could come between the last put and its wakeup, which
  /// would then find a count that is not zero; or after the wakeup, and a module that is being
  /// unloaded would accept users.
  package func giveUp() -> Bool {
    if !addUnlessZero(1) { return false }
    hasBase.store(true, ordering: .relaxed)
    // After the addition, no wakeup finds zero, so none has taken the body; and with the base back,
    // none will.
    _ = waiter.giveUp()
    return true
  }

  /// Restores the base at zero, so that there can be users again. Only for the thread that acts on
  /// zero: after ``releaseBaseIfUnused()``, in the body of ``whenZero(_:)``, or later.
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
