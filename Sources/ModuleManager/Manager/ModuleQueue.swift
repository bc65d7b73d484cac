internal import Glibc
internal import Quiescence

/// The queue on which a manager maps, initializes, exits and unmaps modules: one job after the
/// other, in order of arrival.
///
/// One thread at a time has the turn and runs jobs. It calls modules' code itself, so that the
/// normal way of a load or an unload changes no thread. What may last is *watched*, by
/// ``call(onHandOver:_:then:)``. When such a call has not returned after ``patience``, the turn
/// goes to another thread, and the one that is stuck belongs to its module from then on:
///
///     turn 7              the watch             turn 8
///     calls exit
///                         50 ms: starts turn 8
///     still in exit                             runs the next job
///     exit returns;
///     the turn is 8:
///     queues what follows,
///     and ends                                  runs what follows exit
///
/// Therefore whatever runs after a watched call is in its `then`, and the call is the last thing
/// that its caller does: code behind it would run on a thread that has lost the turn.
///
/// Source: Go's scheduler, which takes the processor away from a thread that is stuck in a system
/// call (`retake`, `handoffp`).
final class ModuleQueue: Sendable {
  typealias Job = @Sendable () -> Void

  /// How long a watched call may take before the turn is handed over. Not a reason why anything is
  /// safe: a call that is taken for a stuck one too early costs the start of a thread. Others wait
  /// for that long, and a request whose limit has passed is answered that much later.
  static let patience = Duration.milliseconds(50)

  private struct State {
    var jobs = JobList()
    /// Before all others.
    var urgent = JobList()
    /// Counts hand-overs.
    var turn = 0
    /// The thread that has the turn; 0 while there is none.
    var owner: Int32 = 0
    var isRunning = false
    var isStopped = false
    var sleeper: Parker?
    /// What the owner is inside.
    var call: Call?
  }

  private struct Call {
    let since: UInt64
    let onHandOver: Job?
  }

  private let name: String
  /// Nil: calls are not watched, and the turn is never handed over.
  let patience: Duration?
  private let state = Locked(State())
  /// The watch knows it.
  let isWatched = Primitive.Flag(false)

  init(named name: String, patience: Duration?) {
    self.name = name
    self.patience = patience
  }

  /// Runs `job` in its turn. The first one starts a thread. Returns 0 or an errno.
  @discardableResult
  func run(_ job: @escaping Job) -> Int32 { add { $0.jobs.append(job) } }

  /// Runs `job` before all that are queued: for what ends requests.
  @discardableResult
  func runUrgently(_ job: @escaping Job) -> Int32 { add { $0.urgent.append(job) } }

  private func add(_ change: (inout State) -> Void) -> Int32 {
    state.withLock { state in
      if !state.isRunning {
        // Also behind `stop()`: what was retired late runs still.
        let error = start(&state)
        if error != 0 { return error }
      }
      change(&state)
      state.sleeper.take()?.open()
      return 0
    }
  }

  private func start(_ state: inout State) -> Int32 {
    let turn = state.turn + 1
    let error = ServiceThread.start(named: name) { [self] in loop(turn) }
    if error == 0 {
      state.turn = turn
      state.owner = 0
      state.isRunning = true
    }
    return error
  }

  /// Ends the thread after the jobs that are queued.
  func stop() {
    let isRunning = state.withLock { state in
      state.isStopped = true
      state.sleeper.take()?.open()
      return state.isRunning
    }
    if !isRunning { QueueWatch.remove(self) }
  }

  /// Whether the calling thread has the turn.
  var isCurrent: Bool { state.withLock { $0.owner } == ServiceThread.currentID }

  private func loop(_ turn: Int) {
    let id = ServiceThread.currentID
    state.withLock { if $0.turn == turn { $0.owner = id } }
    while true {
      let sleeper = Parker()
      let next: Next = state.withLock { state in
        if state.turn != turn { return .end }
        if let job = state.urgent.popFirst() ?? state.jobs.popFirst() { return .job(job) }
        if state.isStopped {
          state.isRunning = false
          state.owner = 0
          return .stop
        }
        // Under the lock that jobs are queued under: one that comes later sees the sleeper.
        state.sleeper = sleeper
        return .sleep
      }
      switch next {
      case .job(let job): job()
      case .sleep: sleeper.wait()
      case .stop: return QueueWatch.remove(self)
      case .end: return
      }
    }
  }

  private enum Next {
    case job(Job), sleep, stop, end
  }
}

// MARK: - Watched calls

extension ModuleQueue {
  /// Runs `body` here, and then `next` as a part of this job; or, when the turn was handed over
  /// meanwhile, as a job of its own. By the thread that has the turn, as the last thing that it
  /// does.
  ///
  /// - Parameter onHandOver: A job that runs when the turn was handed over, before all others.
  func call<Result: Sendable>(
    onHandOver: Job? = nil, _ body: () -> Result, then next: @escaping @Sendable (Result) -> Void
  ) {
    let turn = state.withLock { state in
      if patience != nil {
        state.call = Call(since: MonotonicClock.nanoseconds, onHandOver: onHandOver)
      }
      return state.turn
    }
    if patience != nil { QueueWatch.noteCall(of: self) }
    let outer = ThreadMark.set(self)
    let result = body()
    ThreadMark.restore(outer)
    // One lock decides: either the watch finds the call over, or this finds the turn lost.
    let isMine = state.withLock { state in
      if state.turn == turn { state.call = nil }
      return state.turn == turn
    }
    if isMine { next(result) } else { run { next(result) } }
  }

  /// Whether a call is under way on the thread that has the turn.
  var isCalling: Bool { state.withLock { $0.call != nil } }

  /// Whether the calling thread is inside a watched call, whichever thread has the turn by now.
  var isInsideCall: Bool { ThreadMark.isSet(self) }

  /// By the ``QueueWatch``: hands the turn over when it is due. Returns when to look again; nil
  /// when no call is under way.
  func look(at now: UInt64) -> UInt64? {
    state.withLock { state in
      guard let call = state.call, let limit = patience else { return nil }
      let patience = UInt64(limit.nanoseconds)
      if now < call.since + patience { return call.since + patience }
      // Without a thread the turn stays where it is.
      if start(&state) != 0 { return now + patience }
      state.call = nil
      if let job = call.onHandOver { state.urgent.append(job) }
      return nil
    }
  }
}

/// What a module retires runs in a queue of its own, for all modules of a manager: a callback that
/// does not return hands it over.
extension ModuleQueue: TaskExecutor {
  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let error = run { [self] in
      call({ job.runSynchronously(on: asUnownedTaskExecutor()) }, then: { _ in })
    }
    if error != 0 { fatalError("no thread \(name): \(errnoName(error))") }
  }
}

/// The queue whose watched call the calling thread is inside.
private enum ThreadMark {
  private static let key = {
    var key = pthread_key_t()
    let error = pthread_key_create(&key, nil)
    precondition(error == 0, "no thread-local storage for module queues")
    return key
  }()

  static func set(_ queue: ModuleQueue) -> UnsafeMutableRawPointer? {
    let outer = pthread_getspecific(key)
    pthread_setspecific(key, Unmanaged.passUnretained(queue).toOpaque())
    return outer
  }

  static func restore(_ outer: UnsafeMutableRawPointer?) { pthread_setspecific(key, outer) }

  static func isSet(_ queue: ModuleQueue) -> Bool {
    pthread_getspecific(key) == Unmanaged.passUnretained(queue).toOpaque()
  }
}
