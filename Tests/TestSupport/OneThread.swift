internal import Quiescence

/// Runs every job on one thread.
package final class OneThread: TaskExecutor {
  private let jobs = Shared(Locked([UnownedJob]()))

  package init() {}

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let starts = jobs.value.withLock { jobs in
      jobs.append(job)
      return jobs.count == 1
    }
    // A job stays in the list until it has run: a second thread starts when the list was empty.
    if starts { _ = ServiceThread.start(named: "one") { [self] in run() } }
  }

  private func run() {
    while let job = jobs.value.withLock({ $0.first }) {
      job.runSynchronously(on: asUnownedTaskExecutor())
      let isLast = jobs.value.withLock { jobs in
        jobs.removeFirst()
        return jobs.isEmpty
      }
      if isLast { return }
    }
  }
}
