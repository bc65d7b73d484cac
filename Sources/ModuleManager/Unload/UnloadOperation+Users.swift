/// A count of a module's users, and the wait for its zero. One waits at a time.
package protocol UserWait: AnyObject, Sendable {
  /// Calls `body` once when the count is zero: now, or on the thread of the last user, also inside sections.
  func whenZero(_ body: @escaping @Sendable () -> Void)

  /// Takes `body` off again. False when it has been called or is about to be: what comes next is on its way, and must be let through.
  /// One atomic step decides which.
  func giveUp() -> Bool
}

/// The two waits of an unload. Each can be given up, as long as its zero has not come; between the two, the second is given up as soon
/// as it begins (see ``offerWayBack(_:)``).
extension UnloadOperation {
  /// Runs `next` on the manager's thread when `users` are none.
  ///
  /// - Parameter restoreService: What runs instead when the wait is given up, on the manager's thread. Nil: nothing leads back.
  package func awaitZero(
    of users: some UserWait, orElse restoreService: (@Sendable () -> Void)?,
    _ next: @escaping @Sendable () -> Void
  ) {
    users.whenZero { self.later(next) }
    offerWayBack(restoreService, after: users.giveUp)
  }

  /// Runs `next` on the manager's thread when the counters are zero: at once if they are.
  ///
  /// - Parameter restoreService: As above. It revives the counters, also those that are zero already: nothing has acted on
  ///   that zero yet.
  package func awaitZero(
    of counters: CounterSet, orElse restoreService: (@Sendable () -> Void)?,
    _ next: @escaping @Sendable () -> Void
  ) {
    offerWayBack(restoreService, after: counters.awaitUnused(self, next).giveUp)
  }

  private func offerWayBack(
    _ restoreService: (@Sendable () -> Void)?, after giveUp: @escaping @Sendable () -> Bool
  ) {
    guard let restoreService else { return closeWayBack() }
    offerWayBack {
      if !giveUp() { return false }
      restoreService()
      return true
    }
  }
}
