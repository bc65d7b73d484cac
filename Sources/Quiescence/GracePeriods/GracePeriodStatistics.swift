/// The grace periods of a flavor, or of a ``SleepableDomain``, so far.
public struct GracePeriodStatistics: Hashable, Sendable {
  /// Grace periods that have ended.
  public let gracePeriods: Int
  /// How long they took.
  public let durations: DurationHistogram
  /// Reports of readers that held one up: see ``StallReports``.
  public let stalls: Int
}
