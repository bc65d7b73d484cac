/// What has grace periods: a flavor, or a sleepable domain. A reclaimer borrows them.
protocol GracePeriodSource: AnyObject, Sendable {
  /// As in messages.
  var title: String { get }

  /// The calling thread is inside a section that a grace period waits for, as far as can be known.
  var isInside: Bool { get }

  /// No grace period can end in this process: it was forked while a section was open.
  var isLost: Bool { get }

  /// Traps when ``wait()`` would wait for the calling thread itself. `what` names the caller.
  func checkNotInside(_ what: String)

  /// Blocks until a grace period has passed that begins after this call.
  func wait()

  /// Suspends until a grace period has passed that begins after this call.
  func waitSuspended() async

  /// Calls `waiter` after a grace period that begins after this call.
  func after(_ waiter: Waiter)
}
