internal import Dispatch
internal import Relay
internal import Synchronization

/// What a client's thread tells the others.
final class TrafficProgress: Sendable {
  private let sent = Atomic(0)
  private let answered = Atomic(0)
  private let corrupted = Atomic(0)
  private let duplicates = Atomic(0)
  private let kernelDrops = Atomic(0)
  private let finishing = Atomic(false)
  private let ended = Atomic(false)
  /// How many answers somebody waits for; `Int.max` when nobody does.
  private let awaited = Atomic(Int.max)
  private let arrival = DispatchSemaphore(value: 0)

  var isFinishing: Bool { finishing.load(ordering: .relaxed) }

  func finish() { finishing.store(true, ordering: .relaxed) }

  var report: TrafficReport {
    var report = TrafficReport()
    // Acquire, and before `sent`: nobody sees more answers than requests.
    report.answered = answered.load(ordering: .acquiring)
    report.sent = sent.load(ordering: .relaxed)
    report.corrupted = corrupted.load(ordering: .relaxed)
    report.duplicates = duplicates.load(ordering: .relaxed)
    report.kernelDrops = kernelDrops.load(ordering: .relaxed)
    return report
  }

  /// Only the client's thread.
  func publish(_ report: TrafficReport) {
    sent.store(report.sent, ordering: .relaxed)
    corrupted.store(report.corrupted, ordering: .relaxed)
    duplicates.store(report.duplicates, ordering: .relaxed)
    kernelDrops.store(report.kernelDrops, ordering: .relaxed)
    // Sequentially consistent, as in `waitForAnswers`: of this store and load, and that store and load, at
    // least one sees the other side, so that no wake-up is lost.
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
      // Whoever takes the goal back decides: the client has signalled, or will not.
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

  /// Whoever waits for `goal`, and nobody else: he may have seen the answers himself and be gone, and the
  /// next one waits for more.
  private func wake(_ goal: Int) {
    if goal == .max { return }
    let (isTaken, _) = awaited.compareExchange(
      expected: goal, desired: .max, ordering: .sequentiallyConsistent)
    if isTaken { arrival.signal() }
  }
}
