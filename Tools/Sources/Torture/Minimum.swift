/// What a run has to do so that its zeroes mean something.
///
/// For each second: a part of what is left of two processors that a dozen other threads want. A run of less than a
/// second is held to a whole one.
enum Minimum {
  /// Why `summary` is too little; empty when it is enough.
  static func complaints(about summary: TortureSummary, _ options: TortureOptions) -> [String] {
    let seconds = max(1, summary.seconds)
    var complaints: [String] = []
    func need(_ perSecond: Double, _ what: String, _ count: Int) {
      let least = max(1, Int(perSecond * seconds))
      if count < least { complaints.append("\(count) \(what), \(least) at least are needed") }
    }
    // Bulletproof waits in steps of 10 ms when it meets a reader.
    let isSlow = summary.flavor == .bulletproof
    need(isSlow ? 2 : 10, "grace periods", summary.gracePeriods)
    need(100, "reads", summary.reads)
    need(0.2, "reads of an element that was removed meanwhile", summary.ages.count > 1 ? summary.ages[1] : 0)
    need(20, "callbacks", summary.callbacksRun)
    if options.phases.contains(.churn) { need(1, "threads that came and went", summary.threads) }
    if options.phases.contains(.flood) { need(0.05, "floods", summary.floods) }
    if options.phases.contains(.fork) { need(0.1, "forks", summary.forks) }
    for way in Way.allCases where summary.waits[way.rawValue, default: 0] == 0 {
      complaints.append("nobody waited by \(way.words)")
    }
    return complaints
  }
}
