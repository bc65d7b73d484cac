internal import Synchronization
internal import _QuiescenceShims

/// The grace periods of one flavor, numbered. Callers that wait share them, and one thread at a
/// time runs one.
///
/// A caller waits for a number. Number n + 1 is the first grace period that begins after a moment
/// at which n had begun, so it waits for every section that was open at that moment; n itself may
/// have begun too early.
///
/// liburcu shares grace periods between threads too, but a thread that shares can end up in a
/// `poll` of 10 ms (0.13.2, `urcu-wait.h`), and its grace periods have no numbers. Here only one
/// thread is inside liburcu; the others sleep on a futex of their own.
final class GracePeriodSequence: Sendable {
  private let synchronizeRaw: @Sendable () -> Void
  private let state = Locked(State())
  /// The last one that has ended. Only written under the lock, in ascending order.
  private let completedCount = Atomic<UInt64>(0)
  /// When the running one began, on the monotonic clock in nanoseconds; 0 while none is running.
  let runningSince = Atomic<UInt64>(0)

  private struct State {
    /// The last one that has begun; it has ended too unless `isRunning`.
    var started: UInt64 = 0
    /// A thread runs one, or forks keep others from it.
    var isRunning = false
    /// How many forks keep others from it: several threads may fork at the same time.
    var holds = 0
    /// Threads that wait for number `started + 1`. No thread can wait for a later one.
    var followers: [Follower] = []
    /// Threads that wait until none is running, to fork.
    var holders: [Parker] = []
    var durations = DurationHistogram()
    /// This process was forked while one was under way that cannot end here.
    var isBroken = false
  }

  /// A thread that came while a grace period was running.
  private final class Follower: Sendable {
    let parker = Parker()
    /// Set before the parker is opened: the thread runs the next grace period for all followers.
    let leads = Atomic<Bool>(false)
  }

  init(_ synchronizeRaw: @escaping @Sendable () -> Void) {
    self.synchronizeRaw = synchronizeRaw
  }

  /// The last one that has ended.
  var completed: UInt64 { completedCount.load(ordering: .acquiring) }

  /// The first one that begins after this call. A thread has to run it: see ``wait()``.
  var next: UInt64 { state.withLock { $0.started + 1 } }

  /// One was lost by a fork: no other can end.
  var isLost: Bool { state.withLock { $0.isBroken } }

  /// How long those took that have ended.
  var durations: DurationHistogram { state.withLock { $0.durations } }

  /// Blocks until a grace period has passed that begins after this call. The caller is outside
  /// every section.
  func wait() {
    let follower: Follower? = state.withLock { state in
      if state.isBroken { Misuse.gracePeriodLostByFork() }
      if !state.isRunning {
        state.isRunning = true
        return nil
      }
      let follower = Follower()
      state.followers.append(follower)
      return follower
    }
    if let follower {
      follower.parker.wait()
      // Not chosen: the one that was has run it for all.
      if !follower.leads.load(ordering: .acquiring) { return }
    }
    run()
  }

  /// Runs the next grace period, and hands the one after it to a thread that waits for it.
  private func run() {
    let followersBefore = state.withLock { state in
      // Counted here and not where it was handed over: a thread that comes in between waits for
      // this one. Its cookie would otherwise have the number of the next one, which no thread runs,
      // and would never elapse.
      state.started += 1
      // These threads wait for this grace period. A thread that comes from here on waits for the
      // next.
      defer { state.followers = [] }
      return state.followers
    }
    let start = MonotonicClock.nanoseconds
    runningSince.store(start, ordering: .relaxed)
    StallMonitor.noteStart()
    synchronizeRaw()
    runningSince.store(0, ordering: .relaxed)
    let duration = Duration.nanoseconds(Int64(MonotonicClock.nanoseconds - start))
    let next = state.withLock { state in
      completedCount.store(state.started, ordering: .releasing)
      state.durations.add(duration)
      return nextOwners(&state)
    }
    for owner in next { owner.open() }
    for follower in followersBefore { follower.parker.open() }
  }

  /// Hands on the right to run a grace period, or to keep others from it. The threads that get it
  /// have to be woken.
  private func nextOwners(_ state: inout State) -> [Parker] {
    if !state.holders.isEmpty {
      // All that fork.
      defer { state.holders = [] }
      state.holds = state.holders.count
      return state.holders
    }
    guard let leader = state.followers.first else {
      state.isRunning = false
      return []
    }
    state.followers.removeFirst()
    leader.leads.store(true, ordering: .releasing)
    return [leader.parker]
  }
}

// MARK: - Forks

extension GracePeriodSequence {
  /// Waits until none is running, and lets none begin. False when one is running that waits for the
  /// calling thread, which is inside a section: the child cannot have grace periods then.
  ///
  /// Where another fork keeps grace periods from running, this one does so as well, and does not
  /// wait for the other: that one may wait for a grace period of another flavor, and so for a
  /// section of the calling thread.
  func holdForFork(isInside: Bool) -> Bool {
    let parker: Parker? = state.withLock { state in
      if !state.isRunning || state.holds > 0 {
        state.isRunning = true
        state.holds += 1
        return nil
      }
      let parker = Parker()
      if !isInside { state.holders.append(parker) }
      return parker
    }
    if parker != nil && isInside { return false }
    parker?.wait()
    return true
  }

  func lockForFork() { state.holdForFork() }

  func releaseAfterFork(held: Bool) {
    var next: [Parker] = []
    if held {
      state.whileHeld { state in
        state.holds -= 1
        // The last one.
        if state.holds == 0 { next = nextOwners(&state) }
      }
    }
    state.releaseAfterFork()
    for owner in next { owner.open() }
  }

  /// In the child: the threads that waited are gone.
  func resetAfterFork(held: Bool) {
    state.whileHeld { state in
      state.followers = []
      state.holders = []
      state.holds = 0
      state.isRunning = false
      state.isBroken = state.isBroken || !held
    }
    runningSince.store(0, ordering: .relaxed)
    state.releaseAfterFork()
  }
}
