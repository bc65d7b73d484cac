internal import Synchronization
internal import _QuiescenceShims

/// The thread, or the tasks on an executor, that run the callbacks of one or more reclaimers.
///
/// The thread starts with the first callback, takes no signals of others, and sleeps on a futex
/// while no reclaimer has work. A reclaimer with work tells the runner once, and stays with it
/// until its queues are empty.
///
/// When the system refuses the thread, the runner is stranded: threads that retire, wait at a limit
/// or wait for a barrier try again to start it, and do its work themselves until that succeeds.
final class ReclaimerRunner: Sendable {
  private let name: String
  /// The thread waits for these grace periods itself. Nil: it asks each reclaimer's source for one,
  /// and goes on with the others meanwhile.
  private let gracePeriods: (any GracePeriodSource)?
  private let executor: (any TaskExecutor)?
  private let state = Locked(State())
  /// The thread is needed, and could not be started.
  let isStranded = Atomic<Bool>(false)

  private struct State {
    /// Reclaimers with work.
    var active: [ReclaimerCore] = []
    /// Batches whose grace period has passed.
    var ready: [ReclaimerCore.Batch] = []
    var isRunning = false
    var sleeper: Parker?
    /// Wait for the end of the thread.
    var stoppers: [Waiter] = []
    /// Reclaimers that may still have work.
    var members = 0
    /// In a forked child, what waited in the parent: see ``Waiter``.
    var lost: [Waiter] = []
    var lostBatches: [ReclaimerCore.Batch] = []

    var hasWork: Bool { !active.isEmpty || !ready.isEmpty }
  }

  init(
    named name: String, waitingFor gracePeriods: (any GracePeriodSource)?,
    executor: (any TaskExecutor)? = nil
  ) {
    self.name = name
    self.gracePeriods = executor == nil ? gracePeriods : nil
    self.executor = executor
    ForkWatch.add(self)
  }

  deinit { ForkWatch.remove(self) }

  // MARK: - Work

  /// `core` has work: once until it is idle. Returns false when the thread could not be started.
  @discardableResult
  func activate(_ core: ReclaimerCore) -> Bool { wake { $0.active.append(core) } }

  /// The grace period of a batch has passed. Short: the caller may be a reader that leaves.
  private func noteReady(_ batch: ReclaimerCore.Batch) { wake { $0.ready.append(batch) } }

  /// Starts the thread if it does not run and there is work. Returns false when that failed.
  @discardableResult
  func ensureRunning() -> Bool { wake { _ in } }

  @discardableResult
  private func wake(_ change: (inout State) -> Void) -> Bool {
    let (sleeper, starts) = state.withLock { state in
      change(&state)
      let starts = !state.isRunning && state.hasWork
      if starts { state.isRunning = true }
      return (state.hasWork ? state.sleeper.take() : nil, starts)
    }
    sleeper?.open()
    return !starts || start()
  }

  private func start() -> Bool {
    if let executor {
      Task(executorPreference: executor) { [self] in run() }
      return true
    }
    let error = ServiceThread.start(named: name) { [self] in
      qs_thread_set_reclaims(true)
      run()
    }
    isStranded.store(error != 0, ordering: .relaxed)
    if error != 0 { state.withLock { $0.isRunning = false } }
    return error == 0
  }

  private func run() {
    while let (active, ready) = next() { runRound(active, ready) }
  }

  /// Sleeps while there is nothing to do. Nil when the thread has to end.
  private func next() -> (active: [ReclaimerCore], ready: [ReclaimerCore.Batch])? {
    while true {
      let sleeper = executor == nil ? Parker() : nil
      var stoppers: [Waiter] = []
      let (work, starts) = state.withLock { state -> ((([ReclaimerCore], [ReclaimerCore.Batch]))?, Bool) in
        if !state.stoppers.isEmpty {
          swap(&stoppers, &state.stoppers)
          // What is left is the work of another thread.
          state.isRunning = state.hasWork
          return (nil, state.hasWork)
        }
        if state.hasWork {
          defer { (state.active, state.ready) = ([], []) }
          return ((state.active, state.ready), false)
        }
        if state.members == 0 || sleeper == nil {
          state.isRunning = false
          return (nil, false)
        }
        state.sleeper = sleeper
        return (([], []), false)
      }
      if starts { _ = start() }
      for stopper in stoppers { stopper.resume() }
      guard let work else { return nil }
      if !work.0.isEmpty || !work.1.isEmpty { return work }
      sleeper?.wait()
    }
  }

  private func runRound(_ active: [ReclaimerCore], _ ready: [ReclaimerCore.Batch]) {
    var ready = ready
    let batches = active.map { $0.collect() }
    if let gracePeriods {
      // Everything in them was queued before this grace period starts: a reader that could still
      // see a retired value was inside a section by then, and has left it at the end.
      if batches.contains(where: { !$0.isEmpty }) { gracePeriods.wait() }
      ready += batches
    } else {
      for batch in batches {
        if batch.isEmpty {
          ready.append(batch)
        } else {
          batch.core.gracePeriods.after(.call { [self] in noteReady(batch) })
        }
      }
    }
    for batch in ready { batch.core.finish(batch) }
    settle(ready.map(\.core))
  }

  /// Keeps those that have work again; one fence for all others.
  private func settle(_ cores: [ReclaimerCore]) {
    var busy: [ReclaimerCore] = []
    var idle: [ReclaimerCore] = []
    for core in cores {
      if core.prepareIdle() { idle.append(core) } else { busy.append(core) }
    }
    if !idle.isEmpty {
      qs_fence_heavy()
      busy += idle.filter { !$0.becomeIdle() }
    }
    if !busy.isEmpty { state.withLock { $0.active += busy } }
  }

  // MARK: - Ends

  /// One more reclaimer.
  func join() { state.withLock { $0.members += 1 } }

  /// One reclaimer less. Without any the thread ends.
  func leave() {
    let sleeper = state.withLock { state in
      state.members -= 1
      return state.members == 0 ? state.sleeper.take() : nil
    }
    sleeper?.open()
  }

  /// Calls `waiter` when the thread that runs now has left its last callback. Work that is left
  /// then gets another thread.
  func afterEnd(_ waiter: Waiter) {
    let (isRunning, sleeper) = state.withLock { state in
      if state.isRunning { state.stoppers.append(waiter) }
      return (state.isRunning, state.sleeper.take())
    }
    sleeper?.open()
    if !isRunning { waiter.resume() }
  }
}

// MARK: - Forks

extension ReclaimerRunner {
  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: the thread is gone. It starts again when a thread retires or waits; `inherited`
  /// are the reclaimers that have something to run.
  func resetAfterFork() {
    state.whileHeld { state in
      state.lost += state.stoppers
      state.lostBatches += state.ready
      state.stoppers = []
      state.ready = []
      state.sleeper = nil
      state.isRunning = false
    }
    state.releaseAfterFork()
  }

  /// In the child, for a reclaimer that has inherited callbacks.
  func inherit(_ core: ReclaimerCore) {
    state.withLock { state in
      if !state.active.contains(where: { $0 === core }) { state.active.append(core) }
    }
  }
}
