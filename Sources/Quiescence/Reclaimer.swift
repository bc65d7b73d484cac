internal import Synchronization
internal import _QuiescenceShims

/// Runs what was retired, after a grace period, on a thread of its own.
///
/// Everything that arrives while one grace period is under way shares the next one: retired values,
/// `await synchronize()`, barriers. The thread starts with the first of them, has every signal
/// blocked, and sleeps on a futex while there is nothing to do. Callbacks run outside every section, in the
/// order in which they were retired.
public final class Reclaimer: Sendable {
  private let name: String
  let gracePeriods: GracePeriodSequence
  private let state = Mutex(State())

  package init<F: Flavor>(named name: String, flavor: F.Type) {
    self.name = name
    gracePeriods = GracePeriodSequence { F.unsafeSynchronize() }
  }

  /// Queues `callback` for after the next grace period. A lock and an append; wakes the thread if it sleeps.
  func enqueue(_ callback: consuming Callback) {
    state.withLock { state in
      state.callbacks.append(callback)
      // A callback that retires in turn: a barrier that waits for it has to go round once more.
      if qs_thread_reclaims() { state.chained = true }
      wake(&state)
    }
  }

  /// Calls `waiter` after a grace period that starts after this call.
  func afterGracePeriod(_ waiter: Waiter) {
    state.withLock { state in
      state.synchronizers.append(waiter)
      wake(&state)
    }
  }

  /// Calls `waiter` after everything retired so far, and whatever that retires in turn, has run.
  func afterCallbacks(_ waiter: Waiter) {
    state.withLock { state in
      state.barriers.append(waiter)
      wake(&state)
    }
  }

  private func wake(_ state: inout State) {
    if let sleeper = state.sleeper.take() {
      sleeper.open()
    } else if !state.started {
      state.started = true
      start()
    }
  }

  private func start() {
    let error = ServiceThread.start(named: name) { [self] in run() }
    if error != 0 { fatalError("no thread for the reclaimer \(name): errno \(error)") }
  }

  private func run() -> Never {
    qs_thread_set_reclaims(true)
    while true {
      let batch = nextBatch()
      // Everything in the batch was queued before this grace period starts: whoever could still
      // see a retired value was inside a section by then, and has left it at the end.
      gracePeriods.wait()
      for waiter in batch.synchronizers { waiter.resume() }
      for callback in batch.callbacks { callback.run() }
      finish(batch.barriers)
    }
  }

  private func nextBatch() -> Batch {
    while true {
      let sleeper = Parker()
      let batch: Batch? = state.withLock { state in
        let batch = state.takeBatch()
        // Under the lock that producers queue under: one that comes later sees the sleeper.
        if batch == nil { state.sleeper = sleeper }
        return batch
      }
      if let batch { return batch }
      sleeper.wait()
    }
  }

  private func finish(_ barriers: [Waiter]) {
    if barriers.isEmpty { return }
    let again = state.withLock { state in
      defer { state.chained = false }
      if state.chained { state.barriers.insert(contentsOf: barriers, at: 0) }
      return state.chained
    }
    if !again { for barrier in barriers { barrier.resume() } }
  }

  private struct State {
    var callbacks: [Callback] = []
    var synchronizers: [Waiter] = []
    var barriers: [Waiter] = []
    var chained = false
    var started = false
    var sleeper: Parker?

    mutating func takeBatch() -> Batch? {
      if callbacks.isEmpty && synchronizers.isEmpty && barriers.isEmpty { return nil }
      defer { (callbacks, synchronizers, barriers) = ([], [], []) }
      return Batch(callbacks: callbacks, synchronizers: synchronizers, barriers: barriers)
    }
  }

  private struct Batch: Sendable {
    let callbacks: [Callback]
    let synchronizers: [Waiter]
    let barriers: [Waiter]
  }
}
