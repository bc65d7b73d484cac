import Foundation
import Quiescence
import Synchronization

/// One torture of one flavor, from the first thread to the summary.
final class Run<F: TortureFlavor> {
  private let options: TortureOptions
  private let scene: Scene<F>
  private let watchdog: Watchdog<F>
  private let crew = Crew()
  private let start = ContinuousClock.now
  private let completedBefore = F.completedGracePeriods

  /// Additional waiters, after the writers and fake writers.
  private enum Extra: Int, CaseIterable {
    case flood, end
  }

  init(_ options: TortureOptions) {
    self.options = options
    let names =
      (0..<options.writers).map { "writer \($0)" } + (0..<options.fakeWriters).map { "fake writer \($0)" }
      + ["the flood", "the last barrier"]
    scene = Scene(options, waiters: names)
    watchdog = Watchdog(scene)
  }

  /// - Parameters:
  ///   - isOver: Blocks for at most this duration. Returns true to end the run early.
  ///   - progress: Called once a second.
  func run(
    isOver: (Duration) -> Bool, progress: (TortureProgress) -> Void
  ) throws(TortureError) -> TortureSummary {
    let watchdogThread = try TortureThread { [watchdog] in watchdog.run() }
    do {
      try startAll()
    } catch {
      scene.stop()
      crew.join()
      watchdog.end()
      watchdogThread.join()
      throw error
    }
    let isInterrupted = watch(isOver, progress)
    scene.stop()
    if finish() {
      watchdog.end()
      watchdogThread.join()
    }
    return summary(isInterrupted: isInterrupted)
  }

  private func startAll() throws(TortureError) {
    let scene = scene
    for index in 0..<options.readers {
      try crew.start { scene.affinity.including { Reader(scene, index: index).run() } }
    }
    for index in 0..<options.writers {
      try crew.start { scene.affinity.including { Writer(scene, index: index).run() } }
    }
    for index in 0..<options.fakeWriters {
      let waiter = options.writers + index
      try crew.start { scene.affinity.including { FakeWriter(scene, waiter: waiter).run() } }
    }
    if options.phases.contains(.churn) {
      for lane in 0..<2 { try crew.start { Churn(scene, lane: lane).run() } }
    }
    if options.phases.contains(.flood) {
      let waiter = place(.flood)
      try crew.start { scene.affinity.including { Flood(scene, waiter: waiter).run() } }
    }
    if options.phases.contains(.fork) { try crew.start { Forks(scene).run() } }
    if !options.phases.isDisjoint(with: [.stutter, .shuffle]) {
      try crew.start { SchedulingNoise(scene).run() }
    }
  }

  private func place(_ extra: Extra) -> Int { options.writers + options.fakeWriters + extra.rawValue }

  private var elapsed: Double { (ContinuousClock.now - start) / .seconds(1) }

  /// Watches until the time is over, the user ends the run, or a deliberate fault was found.
  /// Returns whether the user ended it.
  private func watch(_ isOver: (Duration) -> Bool, _ progress: (TortureProgress) -> Void) -> Bool {
    var nextReport = 1.0
    while elapsed < options.seconds {
      let pause = min(0.1, max(0.001, options.seconds - elapsed))
      if isOver(.seconds(pause)) { return true }
      if watchdog.hasFoundHang { break }
      if options.breakage != nil && scene.failures.hasAny { break }
      if elapsed >= nextReport {
        nextReport += 1
        progress(
          TortureProgress(
            flavor: options.flavor, seconds: (elapsed * 10).rounded() / 10, reads: reads,
            gracePeriods: F.completedGracePeriods - completedBefore, failures: scene.failures.sum))
      }
    }
    return false
  }

  /// Lets all threads end, runs the remaining callbacks, and counts what has not come back. Returns
  /// false if a thread hangs.
  private func finish() -> Bool {
    if !waitForCrew() { return false }
    let scene = scene
    let waiter = place(.end)
    do {
      // On a thread of its own, because it may hang.
      try crew.start { scene.watch(waiter, .barrier) { F.barrier() } }
    } catch {
      scene.failures.record(.hangs, "no thread for the last barrier: \(error)")
      return true
    }
    if !waitForCrew() { return false }
    let counts = scene.ledger.counts
    let lost = counts.retired - counts.ran
    scene.failures.record(
      .lostCallbacks, count: lost, "\(lost) of \(counts.retired) callbacks had not run after the last barrier"
    )
    let missing = scene.pools.map(\.missing).reduce(0, +)
    scene.failures.record(.lostElements, count: missing, "\(missing) elements never came back to their pools")
    return true
  }

  private func waitForCrew() -> Bool {
    // The watchdog finds threads that wait for the library; this limit is for threads that hang
    // anywhere else.
    let deadline = ContinuousClock.now + .seconds(60)
    while crew.left > 0 {
      if watchdog.hasFoundHang { return false }
      if ContinuousClock.now > deadline {
        scene.failures.record(.hangs, "\(crew.left) threads have not ended after 60 seconds")
        return false
      }
      sleep(microseconds: 1000)
    }
    crew.join()
    return true
  }

  // MARK: - Results

  private var reads: Int {
    scene.readerTallies.map { $0.count(.sections) }.reduce(0, +)
  }

  private func sum(_ row: (ReaderTally) -> [Int]) -> [Int] {
    let rows = scene.readerTallies.map(row)
    return rows[0].indices.map { column in rows.reduce(0) { $0 + $1[column] } }
  }

  private func summary(isInterrupted: Bool) -> TortureSummary {
    let statistics = F.statistics
    let callbacks = scene.ledger.counts
    let counts = sum(\.counts.values)
    var summary = TortureSummary(
      options: options, seconds: (elapsed * 1000).rounded() / 1000, isInterrupted: isInterrupted,
      failures: scene.failures)
    summary.gracePeriods = statistics.gracePeriods - completedBefore
    summary.gracePeriodMicroseconds = TortureSummary.Durations(
      p50: statistics.durations.quantile(0.5), p99: statistics.durations.quantile(0.99),
      longest: statistics.durations.longest)
    summary.reads = reads
    summary.ages = sum(\.ages.values)
    summary.batches = sum(\.batches.values)
    summary.sections = TortureSummary.Sections(
      nested: counts[ReaderTally.Kind.nested.rawValue],
      overlapping: counts[ReaderTally.Kind.overlapping.rawValue],
      held: counts[ReaderTally.Kind.held.rawValue], boxes: counts[ReaderTally.Kind.boxes.rawValue])
    summary.updates = scene.updates.load(ordering: .relaxed)
    summary.emptyPools = scene.emptyPools.load(ordering: .relaxed)
    summary.waits = scene.waits.uses
    summary.callbacksRetired = callbacks.retired
    summary.callbacksRun = callbacks.ran
    summary.threads = scene.churned.load(ordering: .relaxed)
    summary.threadReads = scene.readsOfChurned.load(ordering: .relaxed)
    summary.floods = scene.floods.load(ordering: .relaxed)
    summary.longestFloodMicroseconds = scene.longestFloodMicroseconds.load(ordering: .relaxed)
    summary.forks = scene.forks.load(ordering: .relaxed)
    summary.stutters = scene.stutters.load(ordering: .relaxed)
    summary.moves = scene.moves.load(ordering: .relaxed)
    summary.vacuous = Minimum.complaints(about: summary, options)
    return summary
  }
}
