internal import Synchronization
internal import _QuiescenceShims

/// What an ``RCUReclaimer`` shares with the queues of the threads that retire, and with the thread
/// that runs the callbacks.
///
/// Each thread retires into a queue of its own, so that threads that retire do not meet. A consumer
/// notes how far the listed queues are filled, waits for a grace period, and runs the entries up to
/// there. Threads that do not retire have no listed queue and cost nothing, however many there are.
final class ReclaimerCore: Sendable {
  let name: String
  /// Whose grace periods it waits for.
  let gracePeriods: any GracePeriodSource
  let runner: ReclaimerRunner
  /// Several reclaimers share the runner: a thread that waits for this one runs its callbacks
  /// itself, and does not wait for those of the others.
  let sharesRunner: Bool
  /// Tells it from those that had its place before. From 1.
  let id: UInt64
  /// Where its queue is in each thread's table.
  let place: UInt32
  let state: Locked<State>
  /// A thread that runs callbacks has it: one at a time.
  let consumer = Locked(())

  struct State: Sendable {
    /// Every queue, for statistics and forks.
    var queues: [RetireQueue] = []
    /// Those of living threads that have entries, or whose threads may append without asking.
    var listed: [RetireQueue] = []
    /// Those with entries that ended threads have left. Not among `listed`: a thread that asks for
    /// room looks at each of those, and many threads may end at once. The next threads continue
    /// them.
    var left: [RetireQueue] = []
    /// Entries in them that have not returned.
    var leftCount = 0
    /// The runner looks at it: it has queues to look at, or ``closedSets``.
    var isActive = false
    /// What callbacks of this one retire to other reclaimers. See ``CallbackSet``.
    var openSet: CallbackSet
    /// Sets whose barriers wait for the grace period of the next round.
    var closedSets: [CallbackSet] = []
    /// Threads and tasks that wait for room.
    var producers: [Waiter] = []
    var limit: RetireLimit?
    /// The library chose the limit, and exceeds it where the thread cannot wait.
    var isLimitSoft: Bool
    /// What takes up room, while there is a limit: entries that have not returned, and those that
    /// threads may append without asking.
    var reserved = 0
    var highWater = 0
    /// Entries that have returned, and those that ran at once because there was no room.
    var ran = 0
    /// No thread can retire to it any more.
    var isAbandoned = false
    var isClosed = false
    /// In a forked child, what threads and tasks of the parent waited for: see ``Waiter``.
    var lost: [CallbackSet] = []
    var lostProducers: [Waiter] = []
  }

  init(
    named name: String, _ gracePeriods: any GracePeriodSource, place: UInt32? = nil,
    runner: ReclaimerRunner, sharesRunner: Bool = false, limit: RetireLimit?, isLimitSoft: Bool = false
  ) {
    self.name = name
    self.gracePeriods = gracePeriods
    self.runner = runner
    self.sharesRunner = sharesRunner
    let (id, free) = Places.take(fixed: place)
    self.id = id
    self.place = free
    state = Locked(State(openSet: CallbackSet(owner: id), limit: limit, isLimitSoft: isLimitSoft))
    runner.join()
    ForkWatch.add(self)
  }

  deinit { close() }

  /// Queues `callback` for after the next grace period. False when it is refused, which happens
  /// only when it may be.
  @inline(__always)
  func enqueue(_ callback: Callback, whenFull: WhenFull = .followPolicy) -> Bool {
    if let opaque = qs_thread_retire_queue(place) {
      let queue = RetireQueue(opaque: opaque)
      if queue.coreID == id { return queue.append(callback, whenFull: whenFull) }
    }
    return enqueueFirst(callback, whenFull: whenFull)
  }

  /// The first time on a thread.
  @inline(never)
  func enqueueFirst(_ callback: Callback, whenFull: WhenFull = .followPolicy) -> Bool {
    // Of a reclaimer that is closed, whose place this one has.
    if let opaque = qs_thread_retire_queue(place) {
      let queue = RetireQueue(opaque: opaque)
      CallbackRun.current?.forget(queue)
      Self.threadEnded(queue)
    }
    let queue =
      state.withLock { $0.adopt() }
      ?? {
        let queue = RetireQueue(for: self)
        state.withLock { state in
          queue.shared.index = state.queues.count
          state.queues.append(queue)
        }
        return queue
      }()
    qs_thread_set_retire_queue(place, queue.opaque) { queue in
      // Set by the call that this is an argument of.
      ReclaimerCore.threadEnded(RetireQueue(opaque: queue!))
    }
    return queue.append(callback, whenFull: whenFull)
  }

  /// Places in each thread's table of queues. Those below the number of flavors belong to the
  /// flavors.
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

// MARK: - Ends

extension ReclaimerCore {
  /// The thread of `queue` has ended, or uses its place for another reclaimer.
  private static func threadEnded(_ queue: RetireQueue) {
    // The queue holds the core.
    let core = queue.core
    let isDone = core.state.withLock { state in
      queue.shared.hasThreadEnded = true
      if state.isClosed { return state.removeIfDone(queue) }
      // At once, without a fence: the thread that could append is the one that ends. Else threads
      // that come and go would hold all the room.
      if state.limit != nil && queue.shared.isListed {
        state.reserved -= queue.shared.granted - min(queue.shared.granted, queue.claimed)
      }
      queue.clampGrant()
      // Nor is it listed until the reclaimer is idle: that may be never.
      if queue.shared.isListed { state.unlist(queue) }
      if !queue.isFinished { state.leave(queue) }
      return state.removeIfDone(queue)
    }
    if isDone { queue.free() }
  }

  /// No thread can retire to it any more: what is left runs, and then it closes.
  func abandon() {
    let (isDone, activates) = state.withLock { state in
      state.isAbandoned = true
      if state.isActive { return (false, false) }
      state.isActive = state.hasQueues
      return (!state.isActive, state.isActive)
    }
    if isDone { close() }
    if activates { runner.activate(self) }
  }

  /// Gives up its place, its queues and its part in the runner. Every entry has run.
  func close() {
    let done: [RetireQueue]? = state.withLock { state in
      if state.isClosed { return nil }
      state.isClosed = true
      defer { state.queues = [] }
      return state.queues.filter { $0.shared.hasThreadEnded && $0.shared.pins == 0 }
    }
    guard let done else { return }
    for queue in done { queue.free() }
    ForkWatch.remove(self)
    Places.giveBack(place)
    runner.leave()
  }
}

extension ReclaimerCore.State {
  /// Forgets a queue whose thread has ended and that has nothing left, unless a consumer has it.
  mutating func removeIfDone(_ queue: RetireQueue) -> Bool {
    let shared = queue.shared
    if !shared.hasThreadEnded || shared.isListed || shared.pins > 0 || !queue.isFinished { return false }
    if shared.isLeft {
      queue.shared.isLeft = false
      Self.remove(queue, from: &left)
    }
    if isClosed { return true }
    let last = queues.removeLast()
    if last.memory != queue.memory {
      queues[shared.index] = last
      last.shared.index = shared.index
    }
    return true
  }

  /// Consumers look at the queue from now on.
  mutating func list(_ queue: RetireQueue) {
    queue.shared.isListed = true
    queue.shared.position = listed.count
    listed.append(queue)
  }

  mutating func unlist(_ queue: RetireQueue) {
    queue.shared.isListed = false
    Self.remove(queue, from: &listed)
  }

  /// The thread of `queue` has ended.
  mutating func leave(_ queue: RetireQueue) {
    queue.shared.isLeft = true
    queue.shared.position = left.count
    left.append(queue)
    leftCount += queue.filled - queue.shared.finished
  }

  /// A queue that an ended thread has left, which the calling thread continues: consumers look at
  /// entries below its end alone, so they cannot tell the two threads apart. Threads that retire
  /// little and end share a queue by turns, and cost the runner as little as one thread that stays.
  mutating func adopt() -> RetireQueue? {
    guard let queue = left.last, !queue.shared.isTorn else { return nil }
    left.removeLast()
    leftCount -= queue.filled - queue.shared.finished
    queue.shared.isLeft = false
    queue.shared.hasThreadEnded = false
    // What the ended thread did not use of its grant was taken back.
    queue.stopThread()
    // Without a change of `reserved`, which its entries are a part of.
    list(queue)
    return queue
  }

  /// Puts the last one into its position.
  private static func remove(_ queue: RetireQueue, from list: inout [RetireQueue]) {
    let last = list.removeLast()
    if last.memory == queue.memory { return }
    list[queue.shared.position] = last
    last.shared.position = queue.shared.position
  }

  /// There are queues to look at.
  var hasQueues: Bool { !listed.isEmpty || !left.isEmpty }

  /// There are entries that have not begun to run.
  var hasEntries: Bool { listed.contains(where: \.hasEntries) || left.contains(where: \.hasEntries) }

  /// Entries that wait now, and those of ended threads that run; remembers the most.
  @discardableResult
  mutating func noteBacklog() -> Int {
    let backlog = listed.reduce(leftCount) { $0 + $1.filled - $1.consumed }
    highWater = max(highWater, backlog)
    return backlog
  }
}
