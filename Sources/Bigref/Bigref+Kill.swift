package import Quiescence

extension Bigref {
  /// Ends the live mode and gives the owner's reference back. Blocks for one system call that interrupts the process's
  /// running threads; without restartable sequences, for a grace period of `Memb`.
  ///
  /// When it returns, ``tryAcquireLive()`` fails, ``isZero`` and ``approximateCount`` are exact, and
  /// zero comes with the last release. It waits for no section: who finds the object in one, and may do so until now, has
  /// ``tryAcquire()``. Traps inside a section, and when the counter was killed before.
  @available(*, noasync, message: "await kill() instead of blocking the task's thread")
  public func kill() {
    if Memb.isInside { Misuse.waitInSection("synchronize() by Bigref.kill()", "Memb") }
    beginKill()
    if Storage.needsGracePeriod { Memb.synchronize() }
    confirmKill()
    releaseOwner()
  }

  /// Ends the live mode and gives the owner's reference back. As the blocking form; suspends where that waits for a grace
  /// period.
  public func kill() async {
    beginKill()
    if Storage.needsGracePeriod { await Memb.synchronize() }
    confirmKill()
    releaseOwner()
  }

  /// Ends the live mode, and calls `confirmed` when ``tryAcquireLive()`` fails and the owner's reference was given back.
  ///
  /// Returns at once; the counter must be there until the call, which comes after a grace period of `Memb`, on its
  /// reclaimer's thread. Traps when the counter was killed before.
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

  /// Makes a killed counter live again, with its owner's reference. Traps when it is live or a kill is under way.
  ///
  /// Who waits for zero goes on waiting, unless zero had come. The caller makes sure that nobody acted upon zero.
  ///
  /// - Complexity: O(processors), no barrier.
  /// - Threads: any; not beside another `resurrect` or `kill`.
  public func resurrect() {
    storage.resurrect()
  }
}

/// The steps of ``kill()`` one by one, for an owner who waits for the grace periods of several flavors in between.
extension Bigref {
  /// Step 2. Traps on a second kill.
  package func beginKill() { storage.beginKill() }

  /// Step 3. A grace period of `Memb` has passed since ``beginKill()``, or there are restartable sequences: then this
  /// passes their barrier, unless one has passed since.
  package func confirmKill() { storage.confirmKill() }

  /// Step 4.
  package func releaseOwner() { storage.releaseOwner() }

  /// Calls `waiter` when the counter is zero: inside a `Memb` section, so it must not wait for anything. Returns what to
  /// ``forget(_:)``, or nil when it was called at once.
  @discardableResult
  package func atZero(_ waiter: Waiter) -> Int? { storage.atZero(waiter) }

  /// Takes a waiter off again. It may be on its way all the same.
  package func forget(_ entry: Int) { storage.forget(entry) }
}
