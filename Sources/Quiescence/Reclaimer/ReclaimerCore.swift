internal import Synchronization
internal import _QuiescenceShims

/// What an ``RCUReclaimer`` shares with the queues of the threads that retire, and with its own thread.
///
/// Each thread retires into a queue of its own, so that threads that retire do not meet. Whoever empties the queues
/// notes how far they are filled, waits for a grace period, and runs the entries up to there.
final class ReclaimerCore: Sendable {
  let name: String
  let domain: FlavorDomain
  /// Whose thread runs the callbacks of this one; nil for one of its own.
  let host: ReclaimerCore?
  let executor: (any TaskExecutor)?
  /// Tells it from those that had its place before. From 1.
  let id: UInt64
  /// Where its queue is in each thread's table.
  let place: UInt32
  /// Nobody would notice a new entry. See `RetireQueue.append`. At the start there is no thread.
  let isIdle = Atomic<Bool>(true)
  let state: Locked<State>
  /// Whoever runs callbacks has it: one at a time.
  let consumer = Locked(())
  let inlineRuns = Atomic<Int>(0)

  struct State: Sendable {
    var queues: [RetireQueue] = []
    var barriers: [Waiter] = []
    /// Threads that wait for room.
    var producers: [Parker] = []
    /// Reclaimers whose callbacks this one's thread runs.
    var cohorts: [ReclaimerCore] = []
    var limit: RetireLimit?
    var highWater = 0
    /// What has run of queues that are gone.
    var ranBefore = 0
    var isRunning = false
    var sleeper: Parker?
    /// Threads that wait for the end of the reclaimer's thread.
    var stoppers: [Waiter] = []
    /// Nobody can retire any more.
    var isAbandoned = false
    /// In a forked child, who waited in the parent: see ``Waiter``.
    var lost: [Waiter] = []
  }

  init(
    named name: String, domain: FlavorDomain, place: UInt32?, host: ReclaimerCore? = nil,
    executor: (any TaskExecutor)? = nil, limit: RetireLimit?
  ) {
    self.name = name
    self.domain = domain
    self.host = host
    self.executor = executor
    let (id, free) = Places.take(fixed: place)
    self.id = id
    self.place = free
    state = Locked(State(limit: limit))
    ForkWatch.add(self)
    host?.state.withLock { $0.cohorts.append(self) }
  }

  deinit {
    ForkWatch.remove(self)
    // They are empty: the last to let go of the core is a thread that found them so, or nobody retired.
    state.withLock { state in
      for queue in state.queues { queue.end(.reclaimer) }
    }
    Places.giveBack(place)
  }

  /// Queues `callback` for after the next grace period. False when it is refused, which happens only when it may be.
  @inline(__always)
  func enqueue(_ callback: Callback, mayRefuse: Bool = false) -> Bool {
    if let opaque = qs_thread_retire_queue(place) {
      let queue = RetireQueue(opaque: opaque)
      if queue.reclaimerID == id { return queue.append(callback, mayRefuse: mayRefuse) }
    }
    return enqueueFirst(callback, mayRefuse: mayRefuse)
  }

  /// The first time on a thread.
  @inline(never)
  func enqueueFirst(_ callback: Callback, mayRefuse: Bool = false) -> Bool {
    // Of a reclaimer that is gone, whose place this one has.
    if let opaque = qs_thread_retire_queue(place) { RetireQueue(opaque: opaque).end(.thread) }
    let queue = RetireQueue(for: self)
    state.withLock { $0.queues.append(queue) }
    qs_thread_set_retire_queue(place, queue.opaque) { queue in
      // Set by the call that this is an argument of.
      RetireQueue(opaque: queue!).end(.thread)
    }
    return queue.append(callback, mayRefuse: mayRefuse)
  }

  /// Places in each thread's table of queues. Those below the number of flavors belong to the flavors' own.
  private enum Places {
    private static let state = Locked((lastID: UInt64(0), free: [] as [UInt32], next: QS_FLAVORS.rawValue))

    static func take(fixed place: UInt32?) -> (UInt64, UInt32) {
      state.withLock { state in
        state.lastID += 1
        if let place { return (state.lastID, place) }
        if let free = state.free.popLast() { return (state.lastID, free) }
        defer { state.next += 1 }
        return (state.lastID, state.next)
      }
    }

    static func giveBack(_ place: UInt32) {
      if place >= QS_FLAVORS.rawValue { state.withLock { $0.free.append(place) } }
    }
  }
}

// MARK: - Room

extension ReclaimerCore {
  enum Room {
    case granted
    case refused
    /// A grace period has passed since the call: the callback can run at once.
    case elapsed
  }

  /// The thread of `queue` wants to append, and has no room or no segment.
  func makeRoom(in queue: RetireQueue, mayRefuse: Bool) -> Room {
    while true {
      let (policy, parker) = state.withLock { state -> (RetireLimit.Policy?, Parker?) in
        // A callback that retires in turn cannot wait for itself, nor for the thread that it runs on.
        guard let limit = state.limit, !qs_thread_reclaims() else {
          queue.grant(upTo: .max)
          return (nil, nil)
        }
        if queue.isGrantedBeyond && queue.granted != .max {
          queue.grant(upTo: queue.granted)
          return (nil, nil)
        }
        let backlog = state.noteBacklog()
        // What threads were granted and do not use leaves at least a few: see the parts below. But a limit that was
        // lowered since can be below the one that each thread keeps; then one more is better than waiting for ever.
        let free = max(limit.count - state.reserved, backlog == 0 ? 1 : 0)
        if free > 0 {
          // A part of it: others may want to append too. Asking is dear, so not one by one.
          queue.grant(upTo: queue.appended + max(1, min(4096, free / 8)))
          return (nil, nil)
        }
        let parker = limit.policy == .wait && !domain.isInside() ? Parker() : nil
        if let parker { state.producers.append(parker) }
        return (limit.policy, parker)
      }
      guard let policy else { return .granted }
      if policy == .refuse && mayRefuse { return .refused }
      if domain.isInside() { Misuse.fullInSection(name, domain.name) }
      guard let parker else {
        synchronizeInline(queue)
        return .elapsed
      }
      wakeUp()
      parker.wait()
    }
  }

  /// Waits for a grace period, and runs what the calling thread has retired.
  private func synchronizeInline(_ queue: RetireQueue) {
    let bound = queue.filled
    domain.sequence.wait()
    let before = queue.consumed
    consume { queue.run(upTo: bound) }
    // The one that is about to run, and that had no room.
    inlineRuns.add(1, ordering: .relaxed)
    if before != bound { openToProducers() }
  }

  /// Runs callbacks on the calling thread, while nobody else does.
  func consume(_ body: () -> Void) {
    consumer.withLock { _ in
      let outer = qs_thread_reclaims()
      qs_thread_set_reclaims(true)
      body()
      qs_thread_set_reclaims(outer)
    }
  }

  func openToProducers() {
    let producers = state.withLock { state in
      defer { state.producers = [] }
      return state.producers
    }
    for producer in producers { producer.open() }
  }
}

extension ReclaimerCore.State {
  /// How much waits now; remembers the most.
  @discardableResult
  mutating func noteBacklog() -> Int {
    let backlog = queues.reduce(0) { $0 + $1.filled - $1.consumed }
    highWater = max(highWater, backlog)
    return backlog
  }

  /// What takes up room: what waits, and what threads may append without asking.
  var reserved: Int { queues.reduce(0) { $0 + $1.reserved } }

  var ran: Int { queues.reduce(ranBefore) { $0 + $1.consumed } }
}
