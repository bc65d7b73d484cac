internal import Dispatch
internal import Relay
internal import Synchronization

/// The results of a client's thread, for other threads.
final class TrafficProgress: Sendable {
  private let sent = Atomic(0)
  private let answered = Atomic(0)
  private let corrupted = Atomic(0)
  private let duplicates = Atomic(0)
  private let mismarked = Atomic(0)
  private let kernelDrops = Atomic(0)
  private let finishing = Atomic(false)
  private let ended = Atomic(false)
  /// The number of answers that a thread waits for; `Int.max` if no thread waits.
  private let awaited = Atomic(Int.max)
  private let arrival = DispatchSemaphore(value: 0)

  var isFinishing: Bool { finishing.load(ordering: .relaxed) }

  func finish() { finishing.store(true, ordering: .relaxed) }

  var report: TrafficReport {
    var report = TrafficReport()
    // Acquire, and loaded before `sent`: so a report never has more answers than requests.
    report.answered = answered.load(ordering: .acquiring)
    report.sent = sent.load(ordering: .relaxed)
    report.corrupted = corrupted.load(ordering: .relaxed)
    report.duplicates = duplicates.load(ordering: .relaxed)
    report.mismarked = mismarked.load(ordering: .relaxed)
    report.kernelDrops = kernelDrops.load(ordering: .relaxed)
    return report
  }

  /// Call this on the client's thread only.
  func publish(_ report: TrafficReport) {
    sent.store(report.sent, ordering: .relaxed)
    corrupted.store(report.corrupted, ordering: .relaxed)
    duplicates.store(report.duplicates, ordering: .relaxed)
    mismarked.store(report.mismarked, ordering: .relaxed)
    kernelDrops.store(report.kernelDrops, ordering: .relaxed)
    // client: stores `answered`, then loads `awaited`. waiter: stores `awaited`, then loads
    // `answered`. With sequentially consistent ordering, at least one of them sees the other's
    // store, so no wakeup is lost.
    answered.store(report.answered, ordering: .sequentiallyConsistent)
    let goal = awaited.load(ordering: .sequentiallyConsistent)
    if goal <= report.answered { wake(goal) }
  }

  func end() {
    ended.store(true, ordering: .sequentiallyConsistent)
    wake(awaited.load(ordering: .sequentiallyConsistent))
  }

  func waitForAnswers(_ count: Int) -> Bool {
    let goal = answered.load(ordering: .sequentiallyConsistent) + count
    awaited.store(goal, ordering: .sequentiallyConsistent)
    if hasReached(goal) {
      // If the goal is still there, the client will not signal. If it was taken, the client has
      // signaled or is about to.
      if awaited.exchange(.max, ordering: .sequentiallyConsistent) == .max { arrival.wait() }
    } else {
      arrival.wait()
    }
    return answered.load(ordering: .relaxed) >= goal
  }

  private func hasReached(_ goal: Int) -> Bool {
    answered.load(ordering: .sequentiallyConsistent) >= goal
      || ended.load(ordering: .sequentiallyConsistent)
  }

  /// Wakes the waiter for `goal` only. That waiter may have seen the answers itself and returned,
  /// and the next waiter waits for more answers.
  private func wake(_ goal: Int) {
    if goal == .max { return }
    let (isTaken, _) = awaited.compareExchange(
      expected: goal, desired: .max, ordering: .sequentiallyConsistent)
    if isTaken { arrival.signal() }
  }
}
