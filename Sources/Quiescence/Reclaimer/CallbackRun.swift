internal import _QuiescenceShims

/// Callbacks that a thread runs one after the other, and the sets that they belong to: what they
/// retire belongs to these sets too.
///
/// An entry belongs to its sets before the thread that runs callbacks of its reclaimer can see it.
/// If it were marked afterwards, at the end of the run, that thread could run it first, unmarked;
/// what it retires in turn would then belong to no set, and a barrier would not wait for it.
///
/// Appends outside callbacks pay nothing for this. The run begins by stopping the thread's queues,
/// so the first append to each asks its reclaimer, which opens the marks under its lock.
final class CallbackRun {
  private let sets: [CallbackSet]
  /// Queues of the thread with open marks.
  private var queues: [RetireQueue] = []
  private var hasRetired = false

  /// What the calling thread runs now.
  static var current: CallbackRun? {
    guard let run = qs_thread_callback_run() else { return nil }
    return Unmanaged<CallbackRun>.fromOpaque(run).takeUnretainedValue()
  }

  /// - Parameter sets: are not empty until the run is over.
  init(of sets: [CallbackSet]) {
    self.sets = sets
    for set in sets { set.beginRun() }
  }

  /// Runs callbacks of the sets on the calling thread. Once.
  func run(_ callbacks: () -> Void) {
    stopQueues()
    qs_thread_set_callback_run(Unmanaged.passUnretained(self).toOpaque())
    let process = ForkWatch.generation
    callbacks()
    if process != ForkWatch.generation { return }
    qs_thread_set_callback_run(nil)
    for queue in queues { end(queue) }
    for set in sets { set.endRun(hasRetired: hasRetired) }
  }

  /// The thread is about to append to `queue`. Under the lock of the queue's core.
  func mark(_ queue: RetireQueue) {
    hasRetired = true
    for set in sets { queue.openMark(set) }
    if !queues.contains(where: { $0.memory == queue.memory }) { queues.append(queue) }
  }

  /// The thread is about to give `queue` up.
  func forget(_ queue: RetireQueue) {
    guard let index = queues.firstIndex(where: { $0.memory == queue.memory }) else { return }
    queues.remove(at: index)
    end(queue)
  }

  /// In a child that a callback has forked: the callback runs on, of no set. Those of the parent
  /// may be locked by threads that the child does not have.
  static func resetAfterFork() { qs_thread_set_callback_run(nil) }

  private func end(_ queue: RetireQueue) {
    let core = queue.core
    let sets = core.state.withLock { _ in queue.endOpenMarks() }
    for set in sets { set.release(for: core) }
  }

  private func stopQueues() { RetireQueue.forEachOfThread { $0.stopThread() } }
}
