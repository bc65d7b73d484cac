internal import Synchronization
internal import _QuiescenceShims

/// Waiting for callbacks. One rule for every barrier: what was retired before, by any thread and on
/// any path, has run, and so has whatever that retires in turn. See ``CallbackSet``.
extension ReclaimerCore {
  /// Closes the set of what has been retired so far. It is empty when all of that has run, and the
  /// runner's next round is over; with `isHeld`, instead of the round, when the caller has released
  /// it.
  func closeSet(isHeld: Bool = false) -> CallbackSet {
    if ForkWatch.hasInherited { ForkWatch.startInherited() }
    let (set, closed, activates) = state.withLock { state -> (CallbackSet, CallbackSet?, Bool) in
      // Barriers that begin before the next round share its set, if nothing else was retired in
      // turn.
      let last = isHeld || state.openSet.isUsed ? nil : state.closedSets.last
      let set = last ?? state.openSet
      if last == nil {
        set.hold()
        if !isHeld { state.closedSets.append(set) }
        state.openSet = CallbackSet(owner: id, after: set)
      }
      for queues in [state.listed, state.left] {
        for queue in queues { queue.mark(set, upTo: queue.filled) }
      }
      let activates = !isHeld && !state.isActive
      if activates { state.isActive = true }
      return (set, last == nil ? set : nil, activates)
    }
    closed?.release()
    if activates { runner.activate(self) }
    return set
  }

  /// Blocks until everything retired so far has run, and what that retires in turn.
  func waitForCallbacks() { Self.waitForCallbacks(of: [self]) }

  /// As ``waitForCallbacks()`` of each; one grace period a source and round serves all.
  static func waitForCallbacks(of cores: [ReclaimerCore]) {
    let waits = Waits(cores)
    while true {
      switch waits.next() {
      case .round(let batches):
        for source in waits.sources(of: batches) { source.wait() }
        waits.finish(batches)
      case .others(let set, let runs):
        let parker = Parker()
        set.whenEmpty(orRunsExceed: runs, .thread(parker))
        parker.wait()
      case .done: return
      }
    }
  }

  /// Suspends until everything retired so far has run, and what that retires in turn.
  func callbacksEnd() async {
    let waits = Waits([self])
    while true {
      switch waits.next() {
      case .round(let batches):
        for source in waits.sources(of: batches) { await source.waitSuspended() }
        waits.finish(batches)
      case .others(let set, let runs):
        await suspended { set.whenEmpty(orRunsExceed: runs, .task($0)) }
      case .done: return
      }
    }
  }

  /// The waiting thread has to run the callbacks if they are not to wait for those of others.
  private var needsHelp: Bool { sharesRunner || !runner.ensureRunning() }

  /// Barriers of some reclaimers that one thread or task waits for, and helps with.
  private final class Waits: @unchecked Sendable {
    // Unchecked: one thread or task has it.
    let sets: [CallbackSet]
    private let cores: [ReclaimerCore]
    private var isFirst = true

    init(_ cores: [ReclaimerCore]) {
      self.cores = cores
      sets = cores.map { $0.closeSet(isHeld: $0.sharesRunner) }
    }

    enum Step {
      /// The caller has to run these after a grace period.
      case round([Batch])
      /// Other threads run what is left of the set. What they retire may be for the caller to run.
      case others(CallbackSet, endedRuns: Int)
      case done
    }

    func next() -> Step {
      var helped = isFirst ? cores.filter(\.sharesRunner) : []
      var left: (set: CallbackSet, runs: Int)?
      for (set, core) in zip(sets, cores) {
        // Before the look: what a run adds after it ends the wait.
        let runs = set.endedRuns
        if set.isEmpty { continue }
        if left == nil { left = (set, runs) }
        for candidate in set.cores + (core.hasClosed(set) ? [core] : [])
        where candidate.hasWork && candidate.needsHelp && !helped.contains(where: { $0 === candidate }) {
          helped.append(candidate)
        }
      }
      if !helped.isEmpty { return .round(helped.map { $0.collect() }) }
      guard let left else { return .done }
      return .others(left.set, endedRuns: left.runs)
    }

    func finish(_ batches: [Batch]) {
      for batch in batches {
        batch.core.finish(batch)
        batch.core.noteIdle()
      }
      if isFirst { for (set, core) in zip(sets, cores) where core.sharesRunner { set.release() } }
      isFirst = false
    }

    func sources(of batches: [Batch]) -> [any GracePeriodSource] {
      var sources: [any GracePeriodSource] = []
      for batch in batches where !sources.contains(where: { $0 === batch.core.gracePeriods }) {
        sources.append(batch.core.gracePeriods)
      }
      return sources
    }
  }

  private var hasWork: Bool {
    state.withLock { !$0.closedSets.isEmpty || $0.hasEntries }
  }

  private func hasClosed(_ set: CallbackSet) -> Bool {
    state.withLock { $0.closedSets.contains { $0 === set } }
  }

  /// After a consumer that is not the runner: the runner may have looked while that ran the last
  /// entries, and left the queues, or an abandoned reclaimer open.
  private func noteIdle() {
    let activates = state.withLock { state in
      if state.isActive || !(state.hasQueues || state.isAbandoned && !state.isClosed) { return false }
      state.isActive = true
      return true
    }
    if activates { runner.activate(self) }
  }
}

// MARK: - Forks

extension ReclaimerCore {
  func lockForFork() { state.holdForFork() }
  func releaseAfterFork() { state.releaseAfterFork() }

  /// In the child: the other threads are gone, and with them their grants and what they waited for.
  /// What was retired and has not run yet runs here too.
  func resetAfterFork() {
    consumer.resetAfterFork()
    state.whileHeld { state in
      let own = qs_thread_retire_queue(place)
      state.lost += state.closedSets
      state.lost.append(state.openSet)
      state.closedSets = []
      state.openSet = CallbackSet(owner: id)
      state.lostProducers += state.producers
      state.producers = []
      state.listed = []
      state.left = []
      state.leftCount = 0
      state.reserved = 0
      for queue in state.queues {
        queue.stopThread()
        queue.clampGrant()
        // An entry that was running in another thread of the parent runs there only.
        queue.shared.finished = queue.consumed
        (queue.shared.isListed, queue.shared.isLeft) = (false, false)
        if queue.opaque == own {
          state.list(queue)
          if state.limit != nil { state.reserved += queue.shared.granted - queue.shared.finished }
        } else {
          (queue.shared.hasThreadEnded, queue.shared.isTorn) = (true, true)
          // Also one that has nothing left: this is no place to free it.
          state.leave(queue)
          if state.limit != nil { state.reserved += queue.filled - queue.shared.finished }
        }
      }
      state.isActive = false
    }
    state.releaseAfterFork()
  }

  /// In the child, after every reclaimer was reset: entries that belonged to the sets of a
  /// reclaimer belong to its open set. Has the runner look at them when it starts.
  func inheritSets(of cores: [UInt64: ReclaimerCore]) {
    let isNeeded = state.withLock { state in
      for queue in state.queues {
        let marks = queue.shared.marks
        queue.shared.marks = []
        for mark in marks {
          state.lost.append(mark.set)
          guard let core = cores[mark.set.owner] else { continue }
          queue.mark(core.openSetAfterFork, from: mark.start, upTo: min(mark.end, queue.filled))
        }
      }
      state.isActive = state.hasEntries && !gracePeriods.isLost
      return state.isActive
    }
    if isNeeded { runner.inherit(self) }
  }

  /// Without the lock, which ``inheritSets(of:)`` may hold: the process has one thread.
  private var openSetAfterFork: CallbackSet {
    var set: CallbackSet?
    state.whileHeld { set = $0.openSet }
    // Set by the line above.
    return set!
  }
}
