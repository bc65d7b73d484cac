internal import Synchronization
internal import _QuiescenceShims

/// Runs what was retired, after a grace period, on a thread of its own.
///
/// Everything that arrives while one grace period is under way shares the next one: retired values,
/// `await synchronize()`, barriers. The thread starts with the first of them, has every signal
/// blocked, and sleeps on a futex while there is nothing to do. Callbacks run outside every section; what one thread
/// retired runs in the order in which it did.
///
/// Each thread retires into a queue of its own, so that threads that retire do not meet. The reclaimer collects the
/// queues before each grace period.
public final class Reclaimer: Sendable {
  private let name: String
  let gracePeriods: GracePeriodSequence
  /// Its place among the queues of each thread; negative when threads share a locked one.
  private let place: Int
  /// The thread is about to sleep, or sleeps. See `RetireQueue.append`.
  let isSleepy = Atomic<Bool>(false)
  private let state = Mutex(State())

  /// A reclaimer for a flavour of your own: keep one for each flavour, for ever, as its ``Flavor/reclaimer``.
  ///
  /// - Parameter name: What its thread is called; cut to the kernel's 15 bytes. The thread starts with the first work.
  public init<F: Flavor>(named name: String, flavor: F.Type) {
    self.name = name
    gracePeriods = GracePeriodSequence { F.unsafeSynchronize() }
    place = F.retirePlace
  }

  /// Queues `callback` for after the next grace period, on a thread that has no queue for this reclaimer.
  @inline(never)
  func enqueueFirst(_ callback: Callback) {
    if place < 0 {
      return state.withLock { state in
        state.callbacks.append(callback)
        // A callback that retires in turn: a barrier that waits for it has to go round once more.
        if qs_thread_reclaims() { state.isChained = true }
        wake(&state)
      }
    }
    let queue = RetireQueue(for: self)
    state.withLock { $0.queues.append(queue) }
    qs_thread_set_retire_queue(UInt32(place), queue.opaque) { queue in
      // Set by the call that this is an argument of.
      RetireQueue(opaque: queue!).close()
    }
    queue.append(callback)
    wakeUp()
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

  @inline(never)
  func wakeUp() {
    state.withLock { wake(&$0) }
  }

  private func wake(_ state: inout State) {
    if let sleeper = state.sleeper.take() {
      isSleepy.store(false, ordering: .relaxed)
      sleeper.open()
    } else if !state.isStarted {
      state.isStarted = true
      start()
    }
  }

  private func start() {
    let error = ServiceThread.start(named: name) { [self] in run() }
    if error != 0 { fatalError("no thread for the reclaimer \(name): errno \(error)") }
  }
}

// MARK: - The thread

extension Reclaimer {
  private struct State {
    var callbacks: [Callback] = []
    var queues: [RetireQueue] = []
    var synchronizers: [Waiter] = []
    var barriers: [Waiter] = []
    var isChained = false
    var isStarted = false
    var sleeper: Parker?
  }

  /// What shares one grace period.
  private struct Batch: Sendable {
    var callbacks: [Callback] = []
    /// Queues that have something, and up to where.
    var queues: [(queue: RetireQueue, bound: Int)] = []
    var synchronizers: [Waiter] = []
    var barriers: [Waiter] = []

    var isEmpty: Bool {
      callbacks.isEmpty && queues.isEmpty && synchronizers.isEmpty && barriers.isEmpty
    }
  }

  private func run() -> Never {
    qs_thread_set_reclaims(true)
    while true {
      let batch = nextBatch()
      // Everything in the batch was queued before this grace period starts: whoever could still
      // see a retired value was inside a section by then, and has left it at the end.
      gracePeriods.wait()
      for waiter in batch.synchronizers { waiter.resume() }
      for (queue, bound) in batch.queues { queue.run(upTo: bound) }
      for callback in batch.callbacks { callback.run() }
      finish(batch.barriers)
    }
  }

  private func nextBatch() -> Batch {
    while true {
      let batch = collect()
      if !batch.isEmpty { return batch }
      let sleeper = Parker()
      state.withLock { state in
        // Under the lock that waiters are queued under: one that comes later wakes the sleeper.
        state.sleeper = sleeper
        isSleepy.store(true, ordering: .relaxed)
      }
      qs_fence_heavy()
      let late = collect()
      if !late.isEmpty {
        state.withLock { state in
          state.sleeper = nil
          isSleepy.store(false, ordering: .relaxed)
        }
        return late
      }
      sleeper.wait()
    }
  }

  private func collect() -> Batch {
    state.withLock { state in
      var batch = Batch(
        callbacks: state.callbacks, synchronizers: state.synchronizers, barriers: state.barriers)
      (state.callbacks, state.synchronizers, state.barriers) = ([], [], [])
      // After the barriers were taken: what was retired before one of them is counted by now.
      state.queues.removeAll { queue in
        if queue.isFinished {
          queue.free()
          return true
        }
        if !queue.isEmpty { batch.queues.append((queue, queue.filled)) }
        return false
      }
      return batch
    }
  }

  private func finish(_ barriers: [Waiter]) {
    if barriers.isEmpty { return }
    // This thread's own queue holds what callbacks have retired.
    let own = place < 0 ? nil : qs_thread_retire_queue(UInt32(place))
    let isOwnEmpty = own.map { RetireQueue(opaque: $0).isEmpty } ?? true
    let again = state.withLock { state in
      defer { state.isChained = false }
      let again = state.isChained || !isOwnEmpty
      if again { state.barriers.insert(contentsOf: barriers, at: 0) }
      return again
    }
    if !again { for barrier in barriers { barrier.resume() } }
  }
}
