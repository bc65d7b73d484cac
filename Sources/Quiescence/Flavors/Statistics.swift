extension Flavor {
  /// Grace periods that have ended since the process started. One load; any thread, also inside a section.
  public static var completedGracePeriods: Int { Int(domain.sequence.completed) }

  /// What the flavor has come to since the process started.
  ///
  /// - Complexity: three locks, none of which a reader ever takes. Any thread.
  public static var statistics: FlavorStatistics {
    FlavorStatistics(
      readers: domain.readers, gracePeriods: Int(domain.sequence.completed),
      durations: domain.sequence.durations, stalls: domain.stalls.count)
  }
}

/// A flavor's readers and grace periods so far.
public struct FlavorStatistics: Hashable, Sendable {
  /// Threads that are registered as readers now; those that other code registered with liburcu are not counted.
  public let readers: Int
  /// Grace periods that have ended.
  public let gracePeriods: Int
  /// How long they took.
  public let durations: DurationHistogram
  /// Reports of stalled readers: see ``StallReports``.
  public let stalls: Int
}

extension RCUReclaimer {
  /// What the reclaimer has come to since it was made.
  ///
  /// - Complexity: O(threads that have retired through it), under a lock that the fast path never takes. Any thread.
  public var statistics: ReclaimerStatistics {
    core.state.withLock { state in
      let queued = state.noteBacklog()
      return ReclaimerStatistics(
        queued: queued, run: state.ran + core.inlineRuns.load(ordering: .relaxed), highWater: state.highWater)
    }
  }
}

/// A reclaimer's callbacks so far.
public struct ReclaimerStatistics: Hashable, Sendable {
  /// Callbacks that wait now.
  public let queued: Int
  /// Callbacks that have run, the one that runs now included.
  public let run: Int
  /// The most that have waited at once, as seen before each round of callbacks, whenever a thread asked for more room,
  /// and by `statistics` itself.
  public let highWater: Int
}
