internal import Quiescence

/// The one thread that looks at the calls of all queues. It sleeps while there are none.
///
/// A queue that begins a call wakes it, but not each time: once awake it looks every few
/// milliseconds, and sleeps again when it has seen no call for a while.
enum QueueWatch {
  private static let isAwake = Primitive.Flag(false)
  private static let state = Primitive.Guarded(State())
  private static let idleRounds = 20

  private struct State {
    var queues: [ObjectIdentifier: ModuleQueue] = [:]
    var isStarted = false
    var sleeper: Parker?
  }

  static func remove(_ queue: ModuleQueue) {
    // Outside of the lock: its last reference may go with this.
    _ = state.withLock { state in
      queue.isWatched.store(false, ordering: .relaxed)
      return state.queues.removeValue(forKey: ObjectIdentifier(queue))
    }
  }

  /// The call is there to be seen. While the watch is awake this costs a fence and a load.
  static func noteCall(of queue: ModuleQueue) {
    // The call, then the flag; the watch clears the flag, then looks for calls. One of the two sees
    // the other: else it would sleep while this one is stuck.
    Primitive.fence()
    if !isAwake.load(ordering: .relaxed) || !queue.isWatched.load(ordering: .relaxed) { wake(queue) }
  }

  @inline(never)
  private static func wake(_ queue: ModuleQueue) {
    let starts = state.withLock { state in
      state.queues[ObjectIdentifier(queue)] = queue
      queue.isWatched.store(true, ordering: .relaxed)
      isAwake.store(true, ordering: .relaxed)
      state.sleeper.take()?.open()
      defer { state.isStarted = true }
      return !state.isStarted
    }
    if !starts { return }
    // Without it nothing is handed over until the next call tries again, and everything else works.
    if ServiceThread.start(named: "modules-watch", { run() }) != 0 {
      state.withLock { state in
        state.isStarted = false
        isAwake.store(false, ordering: .relaxed)
      }
    }
  }

  private static func run() -> Never {
    var idle = 0
    while true {
      let queues = state.withLock { Array($0.queues.values) }
      let now = MonotonicClock.nanoseconds
      let due = queues.compactMap { $0.look(at: now) }.min()
      idle = due == nil ? idle + 1 : 0
      if idle < idleRounds {
        let left = due.map { Duration.nanoseconds(Int64($0 > now ? $0 - now : 1)) }
        // The call of another queue may begin meanwhile.
        Parker().wait(for: left ?? queues.compactMap(\.patience).min() ?? ModuleQueue.patience)
      } else {
        sleep()
        idle = 0
      }
    }
  }

  private static func sleep() {
    let sleeper = Parker()
    isAwake.store(false, ordering: .relaxed)
    Primitive.fence()
    let queues = state.withLock { state in
      state.sleeper = sleeper
      return Array(state.queues.values)
    }
    // See `noteCall`.
    if queues.contains(where: \.isCalling) {
      state.withLock { state in
        state.sleeper = nil
        isAwake.store(true, ordering: .relaxed)
      }
      return
    }
    sleeper.wait()
  }
}
