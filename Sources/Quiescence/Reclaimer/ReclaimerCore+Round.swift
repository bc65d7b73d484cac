internal import Synchronization
internal import _QuiescenceShims

/// Emptying the queues: by the runner, or by a thread that waits for a barrier.
extension ReclaimerCore {
  /// Up to where some queues were filled at one moment, and the barriers that began before it.
  struct Batch: Sendable {
    let core: ReclaimerCore
    var queues: [(queue: RetireQueue, bound: Int)] = []
    var sets: [CallbackSet] = []

    var isEmpty: Bool { queues.isEmpty && sets.isEmpty }
  }

  /// What there is to run after a grace period that begins from now on.
  func collect() -> Batch {
    state.withLock { state in
      var batch = Batch(core: self, sets: state.closedSets)
      state.closedSets = []
      state.noteBacklog()
      for queues in [state.listed, state.left] {
        for queue in queues where queue.hasEntries {
          queue.shared.pins += 1
          batch.queues.append((queue, queue.filled))
        }
      }
      return batch
    }
  }

  /// Runs a batch after its grace period.
  func finish(_ batch: Batch) {
    consume {
      for (queue, bound) in batch.queues {
        run(queue, upTo: bound)
        // One by one: a batch may have a million of them.
        let isDone = state.withLock { state in
          queue.shared.pins -= 1
          return state.removeIfDone(queue)
        }
        if isDone { queue.free() }
      }
    }
    // A producer that waits for more room than there is now would wait for ever.
    openToProducers()
    for set in batch.sets { set.release() }
  }

  /// Runs callbacks on the calling thread, while no other thread does.
  func consume(_ body: () -> Void) {
    consumer.withLock { _ in
      let outer = qs_thread_reclaims()
      qs_thread_set_reclaims(true)
      body()
      qs_thread_set_reclaims(outer)
    }
  }

  /// Runs the entries below `bound`. By the one consumer.
  func run(_ queue: RetireQueue, upTo bound: Int) {
    while queue.consumed < bound {
      let (end, callbacks) = state.withLock { state in
        let number = queue.consumed
        // All of the same sets. And not many at once: threads may wait for room.
        let end = min(bound, number + 1024, queue.boundary(above: number) ?? bound)
        return (end, CallbackRun(of: queue.sets(of: number) + [state.openSet]))
      }
      callbacks.run { queue.run(upTo: end) }
      settle(queue, end)
    }
  }

  /// Notes that entries have returned. What they have retired belongs to their sets by now.
  private func settle(_ queue: RetireQueue, _ end: Int) {
    let (ended, producers) = state.withLock { state in
      let count = max(0, end - queue.shared.finished)
      queue.shared.finished += count
      state.ran += count
      if state.limit != nil { state.reserved -= count }
      if queue.shared.isLeft { state.leftCount -= count }
      return (queue.takeMarks(upTo: end), state.takeProducers())
    }
    for set in ended { set.release(for: self) }
    for producer in producers { producer.resume() }
  }
}

// MARK: - Idle

extension ReclaimerCore {
  /// The first step of becoming idle. False when there is work.
  func prepareIdle() -> Bool {
    state.withLock { state in
      if !state.closedSets.isEmpty || state.hasEntries { return false }
      for queue in state.listed { queue.stopThread() }
      return true
    }
  }

  /// The second step, after a heavy fence: stops looking at the queues that are empty. False when
  /// there is work.
  func becomeIdle() -> Bool {
    var done: [RetireQueue] = []
    let (isIdle, closes, producers) = state.withLock { state in
      var kept: [RetireQueue] = []
      for queue in state.listed {
        // The thread has asked again in between, or is about to append; or another consumer runs
        // the last entries.
        if !queue.isStopped || queue.hasClaim || !queue.isFinished {
          kept.append(queue)
          continue
        }
        if state.limit != nil { state.reserved -= queue.shared.granted - queue.shared.finished }
        queue.clampGrant()
        queue.shared.isListed = false
        queue.trim()
      }
      state.listed = []
      for queue in kept { state.list(queue) }
      // In a forked child: see `resetAfterFork()`.
      for queue in state.left where state.removeIfDone(queue) { done.append(queue) }
      let isIdle =
        state.closedSets.isEmpty && !state.hasEntries && kept.allSatisfy(\.isStopped)
      if isIdle { state.isActive = false }
      // What idle threads gave back may be what others wait for.
      defer { state.producers = [] }
      return (isIdle, isIdle && !state.hasQueues && state.isAbandoned, state.producers)
    }
    for queue in done { queue.free() }
    for producer in producers { producer.resume() }
    if closes { close() }
    return isIdle
  }
}
