/// The handler of reports, the threshold and the limit.
public enum StallReports {
  /// Called with each report, on the library's thread `rcu-stalls`, outside every section. It must
  /// not wait for a grace period: later reports would be delayed.
  public typealias Handler = @Sendable (StallReport) -> Void

  /// How many reports of one flavor, or of one domain, the handler gets in an interval.
  public struct Limit: Hashable, Sendable {
    /// At least 1.
    public let count: Int
    /// From the first report of the interval on.
    public let interval: Duration

    /// A limit of so many reports in each interval.
    public init(_ count: Int, per interval: Duration) {
      precondition(count > 0, "a StallReports.Limit of \(count): at least one report must pass")
      self.count = count
      self.interval = interval
    }
  }

  private static let state = Locked(State())

  private struct State {
    var handler: Handler?
    var threshold = Duration.milliseconds(10)
    var limit: Limit? = Limit(10, per: .seconds(10))
  }

  /// Replaces the handler, and returns the previous one. With nil, which is the initial value,
  /// reports are only counted: the library prints nothing. Any thread.
  @discardableResult
  public static func setHandler(_ handler: Handler?) -> Handler? {
    state.withLock { state in
      defer { state.handler = handler }
      return state.handler
    }
  }

  /// How long a grace period may take before its first report: initially 10 ms, and at least 1 ms.
  /// A new value applies to grace periods that begin later. Any thread.
  ///
  /// Readers that are awake are reported when they have used so much processor time. If all of them
  /// only wait for a processor, there is no report before a hundred times the threshold.
  public static var threshold: Duration {
    get { state.withLock { $0.threshold } }
    set { state.withLock { $0.threshold = max(newValue, .milliseconds(1)) } }
  }

  /// What keeps the handler from a flood of reports: initially ten of each flavor and domain in ten
  /// seconds; nil for all. Reports beyond it are counted in the statistics, and in the next report
  /// that the handler gets. Any thread.
  public static var limit: Limit? {
    get { state.withLock { $0.limit } }
    set { state.withLock { $0.limit = newValue } }
  }

  static func report(_ report: StallReport) { state.withLock { $0.handler }?(report) }
}
