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
      for queue in state.listed where queue.hasEntries {
        queue.shared.pins += 1
        batch.queues.append((queue, queue.filled))
      }
      return batch
    }
  }

  /// Runs a batch after its grace period.
  func finish(_ batch: Batch) {
    consume { for (queue, bound) in batch.queues { run(queue, upTo: bound) } }
    var done: [RetireQueue] = []
    state.withLock { state in
      for (queue, _) in batch.queues {
        queue.shared.pins -= 1
        if state.removeIfDone(queue) { done.append(queue) }
      }
    }
    for queue in done { queue.free() }
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
      // Not beyond a mark: what the entries behind it retire is not of its set. And not many at once:
      // threads may wait for room.
      let end = state.withLock { _ in
        min(bound, queue.consumed + 1024, queue.firstBound ?? bound)
      }
      noteOutsets()
      queue.run(upTo: end)
      settle(queue, end)
    }
  }

  /// Notes that entries have returned, and hands the sets that they belong to on to what they have
  /// retired.
  private func settle(_ queue: RetireQueue, _ end: Int) {
    var hasGrown = false
    RetireQueue.forEachOfThread { if $0.hasGrown { hasGrown = true } }
    let (sets, openSet, ended, producers) = state.withLock { state in
      // All marks end at `end` or above. The sets are held until what has grown is marked: a barrier
      // that takes the open set now waits for that.
      let sets = hasGrown ? queue.shared.marks.map(\.set) : []
      for set in sets { set.hold() }
      let openSet = hasGrown ? state.openSet : nil
      openSet?.hold()
      let count = max(0, end - queue.shared.finished)
      queue.shared.finished += count
      state.ran += count
      if state.limit != nil { state.reserved -= count }
      defer { state.producers = [] }
      return (sets, openSet, queue.takeMarks(upTo: end), state.producers)
    }
    if let openSet {
      markGrowth(of: sets, isOwnIncluded: true)
      markGrowth(of: [openSet], isOwnIncluded: false)
      openSet.release()
      for set in sets { set.release() }
    }
    for set in ended { set.release(for: self) }
    for producer in producers { producer.open() }
  }

  /// Remembers where the queues of the calling thread end.
  func noteOutsets() { RetireQueue.forEachOfThread { $0.noteOutset() } }

  /// Marks what the calling thread has retired since ``noteOutsets()``. Without `isOwnIncluded`, only
  /// what it has retired to other reclaimers: a barrier of this one looks at its own queues itself.
  func markGrowth(of sets: [CallbackSet], isOwnIncluded: Bool) {
    if sets.isEmpty { return }
    RetireQueue.forEachOfThread { queue in
      if !queue.hasGrown || (!isOwnIncluded && queue.coreID == id) { return }
      queue.core.state.withLock { _ in
        for set in sets { queue.mark(set, upTo: queue.filled) }
      }
    }
  }
}

// MARK: - Idle

extension ReclaimerCore {
  /// The first step of becoming idle. False when there is work.
  func prepareIdle() -> Bool {
    state.withLock { state in
      if !state.closedSets.isEmpty || state.listed.contains(where: \.hasEntries) { return false }
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
        // The thread has asked again in between, or another consumer runs the last entries.
        if !queue.isStopped || !queue.isFinished {
          kept.append(queue)
          continue
        }
        if state.limit != nil { state.reserved -= queue.shared.granted - queue.shared.finished }
        queue.clampGrant()
        queue.shared.isListed = false
        queue.trim()
        if state.removeIfDone(queue) { done.append(queue) }
      }
      state.listed = kept
      let isIdle = state.closedSets.isEmpty && !kept.contains { $0.hasEntries || !$0.isStopped }
      if isIdle { state.isActive = false }
      // What idle threads gave back may be what others wait for.
      defer { state.producers = [] }
      return (isIdle, isIdle && kept.isEmpty && state.isAbandoned, state.producers)
    }
    for queue in done { queue.free() }
    for producer in producers { producer.open() }
    if closes { close() }
    return isIdle
  }
}
