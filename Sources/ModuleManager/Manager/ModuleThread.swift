internal import Quiescence

/// The one thread on which a manager maps, initializes, exits and unmaps modules, in order of arrival.
///
/// Nothing that blocks on users runs here: an unload that waits for its last user comes back as a job.
final class ModuleThread: Sendable {
  typealias Job = @Sendable () -> Void

  private struct State {
    var jobs: [Job] = []
    var id: Int32 = 0
    var started = false
    var stopped = false
    var sleeper: Parker?
  }

  private let state = Locked(State())

  /// Runs `job` on the thread, which the first job starts. Returns 0 or an errno.
  func run(_ job: @escaping Job) -> Int32 {
    state.withLock { state in
      if !state.started {
        let error = ServiceThread.start(named: "modules") { [self] in loop() }
        if error != 0 { return error }
        state.started = true
      }
      state.jobs.append(job)
      state.sleeper.take()?.open()
      return 0
    }
  }

  /// Ends the thread after the jobs that are queued.
  func stop() {
    state.withLock { state in
      state.stopped = true
      state.sleeper.take()?.open()
    }
  }

  var isCurrent: Bool { state.withLock { $0.id } == ServiceThread.currentID }

  private func loop() {
    state.withLock { $0.id = ServiceThread.currentID }
    while true {
      let sleeper = Parker()
      let (jobs, stopped) = state.withLock { state in
        defer { state.jobs = [] }
        // Under the lock that `run` queues under: a job that comes later sees the sleeper.
        if state.jobs.isEmpty { state.sleeper = sleeper }
        return (state.jobs, state.stopped)
      }
      for job in jobs { job() }
      if jobs.isEmpty {
        if stopped { return }
        sleeper.wait()
      }
    }
  }
}
