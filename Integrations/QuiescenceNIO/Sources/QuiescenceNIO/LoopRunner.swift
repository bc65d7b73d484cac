public import NIOCore
internal import NIOPosix
public import Quiescence
internal import Synchronization

extension RCUReclaimer.Runner {
  /// Runs callbacks on `loop`: destructors of what belongs to the loop need no lock there.
  ///
  /// ```swift
  /// let sessions = RCUReclaimer(named: "sessions", Memb.self, runner: .eventLoop(loop))
  /// ```
  ///
  /// All callbacks of one grace period run in one task of the loop, and other events of the loop
  /// wait for it: a limit of the reclaimer bounds how many there are. Do not call the blocking
  /// `barrier()` on this loop, which would wait for itself; `loop.barrier(of:)` returns a future.
  ///
  /// Callbacks that are left when a loop of a `MultiThreadedEventLoopGroup` has ended run on
  /// Swift's global executor: no destructor is lost, but it runs on another thread. Shut the
  /// reclaimer down before the loop, by `await reclaimer.shutdown()`, to have all run on the loop.
  /// The loop must not have ended when this is called.
  ///
  /// - Threads: any.
  public static func eventLoop(_ loop: any EventLoop) -> Self { .executor(LoopExecutor(loop)) }
}

/// Runs jobs on a loop, and elsewhere when the loop has ended.
final class LoopExecutor: TaskExecutor {
  private let loop: any EventLoop
  private let state = Mutex(State())

  private struct State {
    /// A task of the loop is on its way for each of them.
    var jobs: [UnownedJob] = []
    var hasEnded = false
  }

  init(_ loop: any EventLoop) {
    self.loop = loop
    loop.execute { [self] in
      // The loop has a thread of its own, which ends with it. A loop that a test drives does not
      // end with the thread that happens to drive it.
      if MultiThreadedEventLoopGroup.currentEventLoop === loop { LoopEnd.notify(self) }
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let hasEnded = state.withLock { state in
      // NIO drops a task of a loop that has ended, and does not say so. So the job is here before
      // the task is on its way: `loopHasEnded` takes it if the task was dropped. The other way
      // round, it could look before the job is here.
      if !state.hasEnded { state.jobs.append(job) }
      return state.hasEnded
    }
    if hasEnded { return globalConcurrentExecutor.enqueue(ExecutorJob(job)) }
    loop.execute { [self] in runOne() }
  }

  private func runOne() {
    let job = state.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
    // The tick may have read. A callback is outside every section.
    QSBR.unsafeGoOffline()
    job?.runSynchronously(on: asUnownedTaskExecutor())
  }

  /// The loop runs nothing any more.
  func loopHasEnded() {
    let jobs = state.withLock { state in
      state.hasEnded = true
      defer { state.jobs = [] }
      return state.jobs
    }
    for job in jobs { globalConcurrentExecutor.enqueue(ExecutorJob(job)) }
  }
}

/// The executors of one loop, and the end of its thread.
private final class LoopEnd: Sendable {
  private static let current = ThreadSpecificVariable<LoopEnd>()
  private let executors = Mutex<[WeakExecutor]>([])

  private struct WeakExecutor: Sendable { weak let executor: LoopExecutor? }

  /// On the loop's thread, whose end releases the object.
  static func notify(_ executor: LoopExecutor) {
    let end = current.currentValue ?? LoopEnd()
    end.executors.withLock { executors in
      executors.removeAll { $0.executor == nil }
      executors.append(WeakExecutor(executor: executor))
    }
    current.currentValue = end
  }

  deinit {
    for entry in executors.withLock({ $0 }) { entry.executor?.loopHasEnded() }
  }
}
