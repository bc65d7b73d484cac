package import Quiescence

extension Bigref {
  /// Ends the live mode and releases the owner's reference. Blocks for one system call that
  /// interrupts the running threads of the process; without restartable sequences, for a grace
  /// period of `Memb`.
  ///
  /// After it returns, ``tryAcquireLive()`` fails, ``isZero`` and ``approximateCount`` are exact,
  /// and the last release brings the count to zero. It does not wait for sections: a reader that
  /// still finds the object in a section may call ``tryAcquire()``. Traps inside a section, and if
  /// the counter was killed before.
  @available(*, noasync, message: "await kill() instead of blocking the task's thread")
  public func kill() {
    if Memb.isInside { Misuse.waitInSection("Bigref.kill()") }
    beginKill()
    if Storage.needsGracePeriod { Memb.synchronize() }
    confirmKill()
    releaseOwner()
  }

  /// Ends the live mode and releases the owner's reference, like the blocking form. Suspends where
  /// that form waits for a grace period.
  public func kill() async {
    beginKill()
    if Storage.needsGracePeriod { await Memb.synchronize() }
    confirmKill()
    releaseOwner()
  }

  /// Ends the live mode, releases the owner's reference, and then calls `confirmed`.
  ///
  /// Returns at once. `confirmed` runs after a grace period of `Memb`, on the reclaimer's thread;
  /// ``tryAcquireLive()`` fails by then. Do not destroy the counter before that call. Traps if the
  /// counter was killed before.
  ///
  /// - Threads: any, also inside sections.
  public func kill(confirmed: @escaping @Sendable () -> Void) {
    beginKill()
    Memb.retire { [storage] in
      storage.confirmKill()
      storage.releaseOwner()
      confirmed()
    }
  }

  /// Makes a killed counter live again, with its owner's reference. Traps if the counter is live or
  /// its kill is not confirmed.
  ///
  /// Waiters that have not been woken go on waiting, for the next zero. If the count had reached
  /// zero, the caller must make sure that no waiter acts on it.
  ///
  /// - Complexity: O(processors), no barrier.
  /// - Threads: any; not concurrently with another `resurrect` or `kill`.
  public func resurrect() {
    storage.resurrect()
  }
}

/// The steps of ``kill()``, for an owner that waits for grace periods of several flavors between
/// them.
extension Bigref {
  /// Step 2 of the protocol. Traps if the counter was killed before.
  package func beginKill() { storage.beginKill() }

  /// Step 3. The caller has waited for a grace period of `Memb` since ``beginKill()`` if there are
  /// no restartable sequences. If there are, this issues their barrier, unless one was issued since
  /// ``beginKill()``.
  package func confirmKill() { storage.confirmKill() }

  /// Step 4.
  package func releaseOwner() { storage.releaseOwner() }

  /// Resumes `waiter` when the counter reaches zero: inside a `Memb` section, so a call must not
  /// wait for anything. Returns a number for ``forget(_:)``, or nil if the waiter was resumed at
  /// once.
  @discardableResult
  package func atZero(_ waiter: Waiter) -> Int? { storage.atZero(waiter) }

  /// Removes a waiter from the list. The waiter may be resumed all the same, by a release that has
  /// already taken it from the list.
  package func forget(_ entry: Int) { storage.forget(entry) }
}
