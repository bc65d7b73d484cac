internal import Synchronization
internal import _QuiescenceShims

/// Emptying the queues: by the reclaimer's thread or executor, or by a thread that waits for a cohort.
extension ReclaimerCore {
  /// Up to where some queues were filled at one moment, and who waits for that.
  struct Batch: Sendable {
    let core: ReclaimerCore
    var queues: [(queue: RetireQueue, bound: Int)] = []
    var barriers: [Waiter] = []

    var isEmpty: Bool { queues.isEmpty && barriers.isEmpty }
  }

  /// What there is to do. Each queue in it stays until ``finish(_:)``.
  func collect() -> Batch {
    state.withLock { state in
      var batch = Batch(core: self, barriers: state.barriers)
      state.barriers = []
      // After the barriers were taken: what was retired before one of them is counted by now.
      state.queues.removeAll { queue in
        if queue.pins == 0 && queue.isFinished {
          state.ranBefore += queue.consumed
          queue.end(.reclaimer)
          return true
        }
        let bound = queue.filled
        if bound != queue.consumed {
          queue.pins += 1
          batch.queues.append((queue, bound))
        } else {
          queue.trim()
        }
        return false
      }
      return batch
    }
  }

  /// Runs a batch after its grace period, and wakes those who wait for it. Returns whether everything that callbacks
  /// have retired so far has run.
  @discardableResult
  func finish(_ batch: Batch) -> Bool {
    state.withLock { _ = $0.noteBacklog() }
    var isDrained = true
    consume {
      let chainedBefore = ownQueue?.filled ?? 0
      for (queue, bound) in batch.queues {
        queue.run(upTo: bound)
        openToProducers()
      }
      // While nobody else runs callbacks: what they retire in turn is in the queue of the thread that runs them.
      let own = ownQueue
      isDrained = state.withLock { state in
        if let own, own.filled != chainedBefore { own.chained = own.filled }
        for (queue, _) in batch.queues { queue.pins -= 1 }
        let isDrained = !state.queues.contains { $0.consumed < $0.chained }
        if !isDrained { state.barriers.insert(contentsOf: batch.barriers, at: 0) }
        return isDrained
      }
    }
    if isDrained { for barrier in batch.barriers { barrier.resume() } }
    return isDrained
  }

  /// The calling thread's.
  private var ownQueue: RetireQueue? {
    guard let opaque = qs_thread_retire_queue(place) else { return nil }
    let queue = RetireQueue(opaque: opaque)
    return queue.reclaimerID == id ? queue : nil
  }

  /// Blocks until everything retired so far has run, and what that retires in turn; the calling thread runs it.
  func drain() { Self.drain([self]) }

  /// As ``drain()`` of each; one grace period a flavor and round serves all.
  static func drain(_ cores: [ReclaimerCore]) {
    var left = cores
    while !left.isEmpty {
      // All of them are collected before the grace periods begin.
      let batches = left.map { $0.collect() }
      var sequences: [GracePeriodSequence] = []
      for core in left where !sequences.contains(where: { $0 === core.domain.sequence }) {
        sequences.append(core.domain.sequence)
      }
      for sequence in sequences { sequence.wait() }
      left = batches.filter { !$0.core.finish($0) }.map(\.core)
    }
  }
}

// MARK: - The thread or executor

extension ReclaimerCore {
  /// There is something to do.
  @inline(never)
  func wakeUp() {
    if let host { return host.wakeUp() }
    let (sleeper, starts) = state.withLock { state in
      defer { state.isRunning = true }
      if state.sleeper != nil || !state.isRunning { isIdle.store(false, ordering: .relaxed) }
      return (state.sleeper.take(), !state.isRunning)
    }
    sleeper?.open()
    if !starts { return }
    if executor != nil { return pump() }
    ServiceThread.require(named: name) { [self] in run() }
  }

  private func run() {
    qs_thread_set_reclaims(true)
    while let batches = nextBatches() {
      // Everything in them was queued before this grace period starts: whoever could still
      // see a retired value was inside a section by then, and has left it at the end.
      domain.sequence.wait()
      for batch in batches { batch.core.finish(batch) }
    }
  }

  /// One round, and the next: on the executor, except for waiting.
  private func pump() {
    guard let batches = nextBatches() else { return }
    domain.thread.after(
      .call { [self] in
        Task(executorPreference: executor) { [self] in
          for batch in batches { batch.core.finish(batch) }
          pump()
        }
      })
  }

  /// What there is to do; sleeps while there is nothing. Nil when the thread is to end, or has no need to sleep.
  private func nextBatches() -> [Batch]? {
    while true {
      let batches = collectAll()
      if !batches.isEmpty { return batches }
      let sleeper = executor == nil ? Parker() : nil
      let stoppers: [Waiter]? = state.withLock { state in
        isIdle.store(true, ordering: .relaxed)
        let isLast = state.isAbandoned && state.cohorts.isEmpty
        if sleeper == nil || isLast || !state.stoppers.isEmpty {
          state.isRunning = false
          defer { state.stoppers = [] }
          return state.stoppers
        }
        state.sleeper = sleeper
        return nil
      }
      // See `RetireQueue.append`.
      qs_fence_heavy()
      let hasWork = hasWork
      if let stoppers {
        // Another thread starts when there is.
        if hasWork { wakeUp() }
        for stopper in stoppers { stopper.resume() }
        return nil
      }
      if hasWork { wakeUp() }
      sleeper?.wait()
    }
  }

  private func collectAll() -> [Batch] {
    let cohorts = state.withLock { $0.cohorts }
    // Not under the lock: the last reference goes with it, and its end takes the lock of all reclaimers.
    let over = cohorts.filter(\.isOver)
    if !over.isEmpty {
      state.withLock { state in state.cohorts.removeAll { cohort in over.contains { $0 === cohort } } }
    }
    return ([collect()] + cohorts.map { $0.collect() }).filter { !$0.isEmpty }
  }

  private var hasWork: Bool {
    let (cohorts, hasWork) = state.withLock { state in
      (state.cohorts, !state.barriers.isEmpty || state.queues.contains { !$0.isEmpty })
    }
    return hasWork || cohorts.contains { $0.hasWork }
  }

  /// Nobody can retire through it any more, and everything has run.
  private var isOver: Bool {
    state.withLock { state in
      state.isAbandoned && state.barriers.isEmpty && !state.queues.contains { !$0.isEmpty || $0.pins > 0 }
    }
  }

  /// Its owner is gone: what is left runs, and the thread ends.
  func abandon() {
    state.withLock { $0.isAbandoned = true }
    let isRunning = host != nil || state.withLock { $0.isRunning }
    if isRunning { wakeUp() }
  }

  /// Calls `waiter` after everything retired so far, and whatever that retires in turn, has run.
  func afterCallbacks(_ waiter: Waiter) {
    state.withLock { $0.barriers.append(waiter) }
    wakeUp()
  }

  /// Calls `waiter` when the thread has nothing left to do and ends. The next one who retires starts another.
  func afterEnd(_ waiter: Waiter) {
    let isRunning = state.withLock { state in
      if state.isRunning { state.stoppers.append(waiter) }
      return state.isRunning
    }
    if isRunning { wakeUp() } else { waiter.resume() }
  }
}

// MARK: - Forks

extension ReclaimerCore {
  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: the thread is gone, and so are the threads of all queues but one, and whoever waited.
  func resetAfterFork() {
    consumer.resetAfterFork()
    state.whileHeld { state in
      let own = qs_thread_retire_queue(place)
      for queue in state.queues {
        queue.pins = 0
        if queue.opaque != own && !queue.hasEnded(.thread) { queue.end(.thread) }
      }
      state.lost += state.barriers + state.stoppers
      state.barriers = []
      state.producers = []
      state.stoppers = []
      state.sleeper = nil
      state.isRunning = false
    }
    isIdle.store(true, ordering: .relaxed)
    state.releaseAfterFork()
  }
}
