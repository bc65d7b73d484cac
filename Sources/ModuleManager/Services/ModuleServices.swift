internal import Glibc
internal import Quiescence

/// What the host runs and keeps for one module: workers, deferred calls, timers, and storage for
/// each thread.
///
/// A worker has a thread of its own. Deferred calls and timers share one thread, which the first of
/// them starts. All run outside sections. A function that does not return holds up only ``end(_:)``
/// of its own module.
///
/// Source: Linux workqueues (`flush_work` and `cancel_delayed_work_sync` before a module's exit)
/// and `kthread_should_stop`.
final class ModuleServices: Sendable {
  typealias Job = ModuleQueue.Job

  /// How many deferred calls may wait.
  static let maximumWaitingCalls = 65_536

  private struct State {
    /// Nothing new begins.
    var isEnding = false
    /// Runs when the last thread has returned.
    var whenEnded: Job?
    /// The threads that have not returned, in order of their starts. A thread that does not run
    /// yet is 0.
    var threads: [(start: Int, id: Int32)] = []
    var starts = 0
    var calls = CallSchedule()
    /// The thread that makes calls runs, or is starting.
    var hasCaller = false
    /// It sleeps on this.
    var sleeper: Parker?
    var storages: [ThreadStorage] = []
  }

  private let name: String
  private let state = Locked(State())
  /// Workers are to return.
  private let stopRequest = Parker()

  init(of module: String) { name = module }

  deinit { state.withLock { for storage in $0.storages { storage.forget() } } }

  // MARK: - Workers

  /// Calls `job` on a thread of its own. Returns 0 or a negative errno.
  func startWorker(named name: String, _ job: @escaping Job) -> Int32 {
    state.withLock { startThread(&$0, named: name, job) }
  }

  /// Returns whether workers are to return; if not, after waiting for that as long as `limit`. Nil:
  /// without an end.
  func waitForStopRequest(for limit: Duration?) -> Bool { stopRequest.wait(for: limit) }

  /// Tells workers to return.
  func requestStop() { stopRequest.open() }

  /// Under the lock: a thread that ends at once finds itself in the list.
  private func startThread(_ state: inout State, named name: String, _ job: @escaping Job) -> Int32 {
    if state.isEnding { return -EBUSY }
    state.starts += 1
    let start = state.starts
    let error = ServiceThread.start(named: name) { [self] in
      noteStart(start)
      job()
      noteEnd(start)
    }
    if error != 0 { return -EAGAIN }
    state.threads.append((start, 0))
    return 0
  }

  private func noteStart(_ start: Int) {
    state.withLock { state in
      guard let index = state.threads.firstIndex(where: { $0.start == start }) else { return }
      state.threads[index].id = ServiceThread.currentID
    }
  }

  private func noteEnd(_ start: Int) {
    let next = state.withLock { state in
      state.threads.removeAll { $0.start == start }
      return state.threads.isEmpty ? state.whenEnded.take() : nil
    }
    next?()
  }

  // MARK: - Deferred calls and timers

  /// Calls `job` once after `delay` nanoseconds. Returns 0 or a negative errno.
  func `defer`(_ delay: UInt64, _ job: @escaping Job) -> Int32 {
    state.withLock { state in
      if let error = prepareCall(&state) { return error }
      state.calls.add(job, after: delay)
      state.sleeper.take()?.open()
      return 0
    }
  }

  /// Calls `job` every `period` nanoseconds. Returns the timer, or a negative errno.
  func startTimer(_ period: UInt64, _ job: @escaping Job) -> Int64 {
    state.withLock { state in
      if period == 0 { return Int64(-EINVAL) }
      if let error = prepareCall(&state) { return Int64(error) }
      defer { state.sleeper.take()?.open() }
      return state.calls.addTimer(job, period)
    }
  }

  /// Returns whether there was such a timer.
  func stopTimer(_ timer: Int64) -> Bool { state.withLock { $0.calls.removeTimer(timer) } }

  /// Starts the thread that makes the calls. Returns a negative errno if there can be no call.
  private func prepareCall(_ state: inout State) -> Int32? {
    if state.isEnding { return -EBUSY }
    if state.calls.count >= Self.maximumWaitingCalls { return -EAGAIN }
    if state.hasCaller { return nil }
    let error = startThread(&state, named: name) { [self] in makeCalls() }
    if error != 0 { return error }
    state.hasCaller = true
    return nil
  }

  /// The thread of the calls, until the services end and no call is left.
  private func makeCalls() {
    while true {
      let sleeper = Parker()
      let next = state.withLock { state in
        let next = state.calls.takeNext()
        if case .job = next { return next }
        if state.isEnding { return .none }
        // Under the lock that calls are added under: one that comes later finds the sleeper.
        state.sleeper = sleeper
        return next
      }
      switch next {
      case .job(let job): job()
      case .after(let delay): sleeper.wait(for: .nanoseconds(Int64(clamping: delay)))
      case .never: sleeper.wait()
      case .none: return
      }
    }
  }

  // MARK: - Storage

  /// Nil if there is no memory, or the services have ended.
  func makeThreadStorage(blockSize: Int) -> ThreadStorage? {
    state.withLock { state in
      if state.isEnding { return nil }
      guard let storage = ThreadStorage(blockSize: blockSize) else { return nil }
      state.storages.append(storage)
      return storage
    }
  }

  // MARK: - The end

  /// Lets nothing new begin, makes the calls that wait, and calls `next` when the last thread
  /// returns, on that thread. Returns false if there is none; then `next` is not called.
  func end(_ next: @escaping Job) -> Bool {
    stopRequest.open()
    return state.withLock { state in
      state.isEnding = true
      state.calls.makeAllDue()
      state.sleeper.take()?.open()
      if state.threads.isEmpty { return false }
      state.whenEnded = next
      return true
    }
  }

  /// A thread that has not returned.
  var thread: Int32? { state.withLock { $0.threads.first { $0.id != 0 }?.id } }
}
