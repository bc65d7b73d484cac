internal import Synchronization
internal import _QuiescenceShims

/// What a retire does that finds its reclaimer full.
enum WhenFull {
  /// What the policy says; waits where that is to refuse.
  case followPolicy
  /// What the policy says.
  case mayRefuse
  case refuse
}

/// How much each thread may append, and what happens at the limit.
extension ReclaimerCore {
  enum Room {
    case granted
    case refused
    /// A grace period has passed since the call, and the callback has run.
    case ran
  }

  private enum Step {
    case granted(activates: Bool)
    case refused
    case waits(Parker)
    case synchronizes
  }

  /// The thread of `queue` has claimed an entry that it may not append, or that has no segment.
  func makeRoom(in queue: RetireQueue, for callback: Callback, _ whenFull: WhenFull) -> Room {
    while true {
      let step = state.withLock { state -> Step in
        let number = queue.claimed - 1
        // One by one while the runner has no thread: each retire tries again to start it.
        let isStranded = runner.isStranded.load(ordering: .relaxed) && !runner.ensureRunning()
        if isStranded && number - queue.consumed >= 1024 && canWait {
          return whenFull == .refuse ? .refused : .synchronizes
        }
        guard let limit = state.limit else {
          return .granted(activates: state.grant(isStranded ? number + 1 : .max, to: queue))
        }
        if queue.shared.granted > number {
          return .granted(activates: state.grant(queue.shared.granted, to: queue))
        }
        if limit.count <= state.reserved { state.recallGrants(except: queue) }
        let free = limit.count - state.reserved
        if free > 0 {
          // A part of it: other threads append too. Asking takes a lock, so not one by one; a
          // thread that has appended more gets more.
          let count = isStranded ? 1 : max(1, min(4096, max(64, number), free / 8))
          return .granted(activates: state.grant(number + count, to: queue))
        }
        state.noteBacklog()
        // A callback that retires in turn cannot wait for itself, nor for the thread that it runs
        // on.
        if qs_thread_reclaims() || (state.isLimitSoft && !canWait) {
          return .granted(activates: state.grant(number + 1, to: queue))
        }
        if whenFull == .refuse || (whenFull == .mayRefuse && limit.policy == .refuse) { return .refused }
        if gracePeriods.isInside { Misuse.fullInSection(name, gracePeriods.title) }
        if qs_thread_is_writing() { Misuse.fullInUpdate(name) }
        if limit.policy != .wait { return .synchronizes }
        let parker = Parker()
        state.producers.append(.thread(parker))
        return .waits(parker)
      }
      switch step {
      case .granted(let activates):
        if activates && !runner.activate(self) {
          // No thread: every thread has to ask again.
          state.withLock { $0.recallGrants() }
        }
        return .granted
      case .refused: return .refused
      case .waits(let parker):
        // Without a thread that makes room, this one does.
        if runner.ensureRunning() {
          parker.wait()
        } else {
          synchronizeInline(queue, callback)
          return .ran
        }
      case .synchronizes:
        synchronizeInline(queue, callback)
        return .ran
      }
    }
  }

  /// As `enqueue`, for a task: suspends until there is room.
  func enqueueSuspending(_ callback: Callback) async {
    while !enqueue(callback, whenFull: .refuse) {
      // Without a thread that makes room, this task does.
      if runner.ensureRunning() { await roomComes() } else { await callbacksEnd() }
    }
  }

  /// Suspends until there may be room; not at all when there is.
  private func roomComes() async {
    await suspended { task in
      let isFull = state.withLock { state in
        guard let limit = state.limit else { return false }
        // In one step with the look: what idle threads were granted would never become room.
        if limit.count <= state.reserved { state.recallGrants() }
        if limit.count > state.reserved { return false }
        state.producers.append(.task(task))
        return true
      }
      if !isFull { task.resume() }
    }
  }

  /// A thread that waits here holds up neither a grace period nor a writer.
  private var canWait: Bool {
    !(gracePeriods.isInside || Memb.isInside || MB.isInside || Bulletproof.isInside || QSBR.isInside
      || qs_sleepable_innermost() != nil || qs_thread_is_writing() || qs_thread_reclaims())
  }

  /// Waits for a grace period, and runs what the calling thread has retired, `callback` last.
  private func synchronizeInline(_ queue: RetireQueue, _ callback: Callback) {
    // What runs here may retire in turn, by the same queue.
    queue.giveClaimBack()
    let bound = queue.filled
    gracePeriods.wait()
    consume {
      run(queue, upTo: bound)
      // As an entry that has just begun: a barrier that begins meanwhile waits for it.
      let callbacks = state.withLock { state in
        state.ran += 1
        return CallbackRun(of: [state.openSet])
      }
      callbacks.run { callback.run() }
    }
    openToProducers()
  }

  /// The thread of `queue` has appended an entry while the reclaimer stopped looking at the queue.
  @inline(never)
  func noteAppended(to queue: RetireQueue) {
    let activates = state.withLock { $0.activate(queue) }
    if activates { _ = runner.activate(self) }
  }

  /// Lets threads that wait for room look again.
  func openToProducers() {
    let producers = state.withLock { state in
      defer { state.producers = [] }
      return state.producers
    }
    for producer in producers { producer.resume() }
  }
}

extension ReclaimerCore.State {
  /// The producers that wait, once there is enough room that they do not have to wait again at
  /// once: in the middle of a batch each would be granted a few entries, and then sleep.
  mutating func takeProducers() -> [Waiter] {
    guard !producers.isEmpty, let limit else { return [] }
    if limit.count - reserved < min(limit.count / 8, 1 << 16) { return [] }
    defer { producers = [] }
    return producers
  }

  /// Has the consumers look at the queue. Returns whether the runner has to be told.
  mutating func activate(_ queue: RetireQueue) -> Bool {
    if !queue.shared.isListed {
      list(queue)
      if limit != nil { reserved += queue.shared.granted - queue.shared.finished }
    }
    defer { isActive = true }
    return !isActive
  }

  /// Lets the thread append up to `granted` without asking. By the thread.
  mutating func grant(_ granted: Int, to queue: RetireQueue) -> Bool {
    let activates = activate(queue)
    if limit != nil { reserved += granted - queue.shared.granted }
    CallbackRun.current?.mark(queue)
    queue.install(granted)
    return activates
  }

  /// Takes back what threads were granted and do not use.
  mutating func recallGrants(except own: RetireQueue? = nil) {
    // A look without a fence: it may miss a little of what is left, never for long.
    let isWorthwhile = listed.contains { queue in
      queue.memory != own?.memory && queue.shared.granted > queue.claimed
    }
    if isWorthwhile || own == nil { recallAllGrants() }
  }

  private mutating func recallAllGrants() {
    for queue in listed { queue.stopThread() }
    // See `RetireQueue`.
    qs_fence_heavy()
    for queue in listed { queue.clampGrant() }
    reserved = listed.reduce(leftCount) { $0 + $1.shared.granted - $1.shared.finished }
  }

  /// Sets the limit, and has every thread ask again.
  mutating func setLimit(_ limit: RetireLimit?) {
    self.limit = limit
    isLimitSoft = false
    recallGrants()
  }
}
