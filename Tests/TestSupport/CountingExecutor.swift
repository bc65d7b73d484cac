internal import Quiescence

/// Runs each job of its tasks on a thread of its own, and counts the jobs: a task that is resumed
/// makes one.
package final class CountingExecutor: TaskExecutor {
  package let jobs = Counter()

  package init() {}

  package func enqueue(_ job: consuming ExecutorJob) {
    jobs.add(1)
    let job = UnownedJob(job)
    let executor = asUnownedTaskExecutor()
    let error = ServiceThread.start(named: "executor") { job.runSynchronously(on: executor) }
    precondition(error == 0, "no thread for a test: errno \(error)")
  }
}
