public import Logging
public import Quiescence

extension StallReports {
  /// Has each report logged by `logger`, and then passes it on to `next`.
  ///
  /// The message is the same for all reports of a kind, and what differs is metadata, so that a
  /// backend can group them:
  ///
  /// | key | value |
  /// |---|---|
  /// | `flavor` | as in ``StallReport/flavor`` |
  /// | `cause` | as in ``StallReport/cause`` |
  /// | `milliseconds` | how long the grace period has taken |
  /// | `readers` | the threads, each as `name (id)` |
  /// | `sections` | their number, for a domain |
  /// | `left-out` | reports that the limit kept back before this one, if there are any |
  ///
  /// The handler gets as many reports as ``StallReports/limit`` allows: initially ten of each
  /// flavor in ten seconds.
  ///
  /// - Parameters:
  ///   - logger: Gets the reports, on the library's thread `rcu-stalls`.
  ///   - level: Of each line, and of a report that readers only wait for a processor: `info`, if
  ///     that is lower.
  ///   - next: Called after the line was logged; by default nothing.
  /// - Returns: The handler that was replaced.
  /// - Threads: any.
  @discardableResult
  public static func log(
    to logger: Logger, level: Logger.Level = .warning, then next: Handler? = nil
  ) -> Handler? {
    setHandler { report in
      logger.log(
        level: report.cause == .preemption ? min(level, .info) : level, report.message,
        metadata: report.metadata)
      next?(report)
    }
  }
}

extension StallReport {
  /// The message of a log line, the same for each cause.
  var message: Logger.Message {
    switch cause {
    case .preemption: "a grace period waits for readers without a processor"
    case .foreign: "a grace period waits for a thread that is not registered with swift-quiescence"
    default: "a grace period waits for readers that stay inside their sections"
    }
  }

  var metadata: Logger.Metadata {
    let (seconds, attoseconds) = duration.components
    var metadata: Logger.Metadata = [
      "flavor": "\(flavor)", "cause": "\(cause)",
      "milliseconds": "\(seconds * 1000 + attoseconds / 1_000_000_000_000_000)",
    ]
    if !readers.isEmpty { metadata["readers"] = .array(readers.map { "\($0)" }) }
    if let sections { metadata["sections"] = "\(sections)" }
    if leftOut > 0 { metadata["left-out"] = "\(leftOut)" }
    return metadata
  }
}
