internal import _QuiescenceShims

extension Flavor {
  /// Blocks until every section that is open now has been left.
  ///
  /// Traps inside a section of this flavor, where it would wait for itself; an online reader has
  /// ``OnlineReader/synchronize()`` instead.
  ///
  /// - Complexity: O(registered threads) and, under `Memb`, two `membarrier(2)` calls. Concurrent
  ///   callers share grace periods.
  /// - Threads: any. Hold no lock that a reader takes inside a section.
  @available(*, noasync, message: "await synchronize() instead of blocking the task's thread")
  public static func synchronize() {
    domain.checkNotInside("synchronize()")
    domain.wait()
  }

  /// Suspends until every section that is open now has been left.
  ///
  /// A thread of the flavor waits for all tasks that suspended meanwhile at once, and runs no
  /// callbacks. When the system refuses that thread, the task's thread waits. The wait is not
  /// cancelled with the task: a grace period always ends when its readers leave.
  public static func synchronize() async { await domain.waitSuspended() }

  /// Calls `waiter` after a grace period; lets several flavors wait at the same time.
  package static func afterGracePeriod(_ waiter: Waiter) {
    domain.after(waiter)
  }
}
