internal import Quiescence

/// A count of a module's users, and the wait for its zero. One waits at a time.
package protocol UserWait: AnyObject, Sendable {
  /// Calls `body` once when the count is zero: now, or on the thread of the last user, also inside
  /// sections.
  func whenZero(_ body: @escaping @Sendable () -> Void)

  /// Takes `body` off again. False when it has been called or is about to be: what comes next is on
  /// its way, and must be let through. One atomic step decides which.
  func giveUp() -> Bool
}

/// The waits of an unload. Each can be given up, as long as what it waits for has not come; between
/// two of them, the second is given up as soon as it begins (see ``offerWayBack(_:)``).
extension UnloadOperation {
  /// Runs `next` on the manager's queue when `users` are none.
  ///
  /// - Parameter restoreService: What runs instead when the wait is given up, on the queue. Nil:
  ///   nothing leads back.
  package func awaitZero(
    of users: some UserWait, orElse restoreService: (@Sendable () -> Void)?,
    _ next: @escaping @Sendable () -> Void
  ) {
    module.setWait(.users)
    users.whenZero { self.advance(next) }
    offerWayBack(restoreService, after: users.giveUp)
  }

  /// Runs `next` on the manager's queue when the counters are zero: at once if they are.
  ///
  /// - Parameter restoreService: As above; it revives the counters, those as well that are zero
  ///   already: nothing has acted upon that.
  package func awaitZero(
    of counters: CounterSet, orElse restoreService: (@Sendable () -> Void)?,
    _ next: @escaping @Sendable () -> Void
  ) {
    guard let wait = counters.awaitUnused(self, next) else { return next() }
    module.setWait(.users)
    offerWayBack(restoreService, after: wait.giveUp)
  }

  /// The last user has released it. Any thread, also inside sections.
  func advance(_ next: @escaping @Sendable () -> Void) {
    later {
      self.setWaitOver()
      next()
    }
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

// MARK: - Readers and callbacks

extension UnloadOperation {
  /// Calls `next` when every call that was inside the module without having counted itself has left
  /// it, or has counted itself.
  ///
  /// - Parameter restoreService: What runs instead when the wait is given up: a grace period that
  ///   never ends is one that a hook of some module blocks. Nil: nothing leads back. Where counters
  ///   need that grace period to be exact, nothing does either.
  package func afterReaders(
    orElse restoreService: (@Sendable () -> Void)? = nil, _ next: @escaping @Sendable () -> Void
  ) {
    let once = Once()
    module.setWait(.readers)
    if let restoreService, Primitive.Slots.isRestartable, !isFinal {
      offerWayBack {
        if !once.take() { return false }
        restoreService()
        return true
      }
    }
    manager.waits.afterReaders(self) { [self] in
      if !once.take() { return }
      setWaitOver()
      next()
    }
  }

  /// Calls `next` when everything that the module retired has run.
  package func afterCallbacks(_ next: @escaping @Sendable () -> Void) {
    module.setWait(.callbacks)
    manager.waits.afterCallbacks(self) { [self] in
      setWaitOver()
      next()
    }
  }

  /// Makes the counters exact, and calls `next`. Users go on counting meanwhile.
  package func makeExact(_ counters: CounterSet, _ next: @escaping @Sendable () -> Void) {
    if counters.isEmpty { return next() }
    counters.beginKill()
    if Primitive.Slots.isRestartable {
      counters.confirm()
      return next()
    }
    afterReaders {
      counters.confirm()
      next()
    }
  }

  /// Runs `body` here, though it may block, and then `next`.
  package func block<Result: Sendable>(
    _ kind: ModuleActivity.Kind, _ body: () -> Result, then next: @escaping @Sendable (Result) -> Void
  ) {
    module.setWait(kind)
    manager.queue.call(onHandOver: stuck, body) { [self] result in
      setWaitOver()
      next(result)
    }
  }
}
