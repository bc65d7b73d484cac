internal import _QuiescenceShims

/// Waits for grace periods on behalf of those who do not block: suspended tasks, polled cookies, reclaimers without a
/// thread. It runs nobody's code but theirs, so a slow destructor holds up no grace period.
///
/// The thread starts with the first of them, has every signal blocked, and sleeps on a futex while there is nothing to
/// do. Everybody who comes while a grace period is under way shares the next one.
final class GracePeriodThread: Sendable {
  private let name: String
  private let sequence: GracePeriodSequence
  private let state = Locked(State())

  private struct State {
    var waiters: [Waiter] = []
    var isStarted = false
    var sleeper: Parker?
    /// In a forked child, who waited in the parent: see ``Waiter``.
    var lost: [Waiter] = []
  }

  init(named name: String, _ sequence: GracePeriodSequence) {
    self.name = name
    self.sequence = sequence
  }

  /// Calls `waiter` after a grace period that starts after this call.
  func after(_ waiter: Waiter) {
    let (sleeper, starts) = state.withLock { state in
      state.waiters.append(waiter)
      defer { state.isStarted = true }
      return (state.sleeper.take(), !state.isStarted)
    }
    sleeper?.open()
    if starts { ServiceThread.require(named: name) { [self] in run() } }
  }

  private func run() -> Never {
    while true {
      let waiters = next()
      // All of them came before this grace period starts.
      sequence.wait()
      for waiter in waiters { waiter.resume() }
    }
  }

  private func next() -> [Waiter] {
    while true {
      let sleeper = Parker()
      let waiters: [Waiter] = state.withLock { state in
        defer { state.waiters = [] }
        // Under the lock that waiters are queued under: one that comes later wakes the sleeper.
        if state.waiters.isEmpty { state.sleeper = sleeper }
        return state.waiters
      }
      if !waiters.isEmpty { return waiters }
      sleeper.wait()
    }
  }

  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: the thread is gone, and so are those who waited.
  func resetAfterFork() {
    state.whileHeld { $0 = State(lost: $0.lost + $0.waiters) }
    state.releaseAfterFork()
  }
}
