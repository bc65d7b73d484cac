internal import _QuiescenceShims

/// Waits for grace periods for callers that do not block: suspended tasks, polled cookies, and
/// reclaimers without a thread. It runs no callbacks of users, so a slow destructor holds up no
/// grace period.
///
/// The thread starts with the first of them, takes no signals of others, and sleeps on a futex
/// while there is nothing to do. All that come while a grace period is under way share the next
/// one.
final class GracePeriodThread: Sendable {
  private let name: String
  private let wait: @Sendable () -> Void
  private let state = Locked(State())

  private struct State {
    var waiters: [Waiter] = []
    /// A grace period is wanted, whether or not anything waits for it.
    var isWanted = false
    var isRunning = false
    var sleeper: Parker?
    /// In a forked child, what waited in the parent: see ``Waiter``.
    var lost: [Waiter] = []
  }

  /// - Parameter wait: waits for one grace period.
  init(named name: String, _ wait: @escaping @Sendable () -> Void) {
    self.name = name
    self.wait = wait
  }

  /// Calls `waiter` after a grace period that starts after this call. Returns false when the system
  /// refuses the thread: then ``serve()`` has to be called by a thread that can wait. Until then
  /// the next call tries again.
  @discardableResult
  func after(_ waiter: Waiter) -> Bool { wake { $0.waiters.append(waiter) } }

  /// Runs a grace period that starts after this call. Requests that come before it starts are one.
  @discardableResult
  func request() -> Bool { wake { _ in } }

  private func wake(_ change: (inout State) -> Void) -> Bool {
    let (sleeper, starts) = state.withLock { state in
      change(&state)
      state.isWanted = true
      defer { state.isRunning = true }
      return (state.sleeper.take(), !state.isRunning)
    }
    sleeper?.open()
    if !starts || ServiceThread.start(named: name, { [self] in run() }) == 0 { return true }
    state.withLock { $0.isRunning = false }
    return false
  }

  private func run() -> Never {
    while true {
      let waiters = next()
      // All of them came before this grace period starts.
      wait()
      for waiter in waiters { waiter.resume() }
    }
  }

  private func next() -> [Waiter] {
    while true {
      let sleeper = Parker()
      let waiters: [Waiter]? = state.withLock { state in
        if state.isWanted {
          state.isWanted = false
          defer { state.waiters = [] }
          return state.waiters
        }
        // Under the lock that waiters are queued under: one that comes later wakes the sleeper.
        state.sleeper = sleeper
        return nil
      }
      if let waiters { return waiters }
      sleeper.wait()
    }
  }

  /// Does the thread's work once, on the calling thread, which is outside every section.
  func serve() {
    let waiters = state.withLock { state in
      state.isWanted = false
      defer { state.waiters = [] }
      return state.waiters
    }
    wait()
    for waiter in waiters { waiter.resume() }
  }

  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: the thread is gone, and so is what waited.
  func resetAfterFork() {
    state.whileHeld { $0 = State(lost: $0.lost + $0.waiters) }
    state.releaseAfterFork()
  }
}
