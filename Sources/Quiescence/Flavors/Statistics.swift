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
