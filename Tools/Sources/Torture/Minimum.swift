/// The work that a run must do so that counters of zero mean something.
///
/// The figures are per second, and small enough for a part of two processors that a dozen other
/// threads also use. A run of less than a second counts as a whole second.
enum Minimum {
  /// Why the run did too little. Empty if it did enough.
  static func complaints(about summary: TortureSummary, _ options: TortureOptions) -> [String] {
    let seconds = max(1, summary.seconds)
    var complaints: [String] = []
    func need(_ perSecond: Double, _ what: String, _ count: Int) {
      let least = max(1, Int(perSecond * seconds))
      if count < least { complaints.append("\(count) \(what), at least \(least) are needed") }
    }
    // Bulletproof waits in steps of 10 ms when it meets a reader.
    let isSlow = summary.flavor == .bulletproof
    need(isSlow ? 2 : 10, "grace periods", summary.gracePeriods)
    need(100, "reads", summary.reads)
    need(
      0.2, "reads of an element that was removed during the section",
      summary.ages.count > 1 ? summary.ages[1] : 0)
    need(20, "callbacks", summary.callbacksRun)
    if options.phases.contains(.churn) { need(1, "threads that started and ended", summary.threads) }
    if options.phases.contains(.flood) { need(0.05, "floods", summary.floods) }
    if options.phases.contains(.fork) { need(0.1, "forks", summary.forks) }
    for way in Way.allCases where summary.waits[way.rawValue, default: 0] == 0 {
      complaints.append("no thread waited by \(way.words)")
    }
    return complaints
  }
}
