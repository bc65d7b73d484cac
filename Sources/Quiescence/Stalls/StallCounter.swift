internal import Synchronization

/// Counts the reports of one flavor or domain, and passes no more of them to the handler than the
/// limit allows.
///
/// Atomics and no lock: the monitor's thread alone reports, and a forked child, whose monitor
/// starts anew, has no lock of the parent's.
final class StallCounter: Sendable {
  private let reports = Atomic<Int>(0)
  /// When the interval began that the limit counts in, in nanoseconds; 0 before the first report.
  private let start = Atomic<UInt64>(0)
  /// Handed to the handler in this interval.
  private let handed = Atomic<Int>(0)
  /// Left out since the last one that was handed to the handler.
  private let leftOut = Atomic<Int>(0)

  var count: Int { reports.load(ordering: .relaxed) }

  /// By the monitor's thread.
  func report(_ report: StallReport, at now: UInt64 = MonotonicClock.nanoseconds) {
    reports.add(1, ordering: .relaxed)
    if let limit = StallReports.limit {
      let start = start.load(ordering: .relaxed)
      if start == 0 || now - start >= UInt64(limit.interval.nanoseconds) {
        self.start.store(now, ordering: .relaxed)
        handed.store(0, ordering: .relaxed)
      }
      if handed.load(ordering: .relaxed) >= limit.count {
        leftOut.add(1, ordering: .relaxed)
        return
      }
      handed.add(1, ordering: .relaxed)
    }
    StallReports.report(report.after(leftOut.exchange(0, ordering: .relaxed)))
  }
}
