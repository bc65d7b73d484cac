import ToolSupport
import Torture

/// A torture's summary for people: counters, the histogram of ages, and what it means in one
/// sentence.
struct TortureReport {
  private let summary: TortureSummary

  init(_ summary: TortureSummary) {
    self.summary = summary
  }

  var lines: [String] { work + ages + failures + [verdict, ""] }

  private var work: [String] {
    let took = summary.gracePeriodMicroseconds
    let perSecond = Int(Double(summary.gracePeriods) / max(summary.seconds, 0.001))
    let sections = summary.sections
    let waits = summary.waits.sorted { $0.key < $1.key }.map { "\($0.key) \(grouped($0.value))" }
    return [
      row(
        "grace periods",
        "\(grouped(summary.gracePeriods)), \(grouped(perSecond)) a second; half of them within "
          + "\(duration(took.p50)), the longest \(duration(took.longest))"),
      row(
        "reads",
        "\(grouped(summary.reads)): \(grouped(sections.nested)) nested, \(grouped(sections.overlapping)) overlapping, "
          + "\(grouped(sections.held)) held for long, \(grouped(sections.boxes)) of boxes"),
      row("updates", grouped(summary.updates)),
      row("waits", waits.joined(separator: ", ")),
      row("callbacks", "\(grouped(summary.callbacksRetired)) retired, \(grouped(summary.callbacksRun)) run"),
      row(
        "floods",
        "\(grouped(summary.floods)), the slowest over after \(duration(summary.longestFloodMicroseconds))"),
      row("threads", "\(grouped(summary.threads)) came and went, with \(grouped(summary.threadReads)) reads"),
      row("forks", grouped(summary.forks)),
      row(
        "stutters",
        "\(grouped(summary.stutters)); threads moved between processors \(grouped(summary.moves)) times"),
    ]
  }

  /// What has no entries above an age of 1 is not drawn.
  private var ages: [String] {
    let last = max(1, summary.ages.lastIndex { $0 > 0 } ?? 1)
    let most = max(1, summary.ages.max() ?? 1)
    return ["age of what was read, at the end of the section:"]
      + summary.ages.prefix(last + 1).enumerated().map { age, count in
        let bar = String(repeating: "#", count: count == 0 ? 0 : max(1, 40 * count / most))
        let mark = age > 1 && count > 0 ? "  <- too old" : ""
        return "  \(padded(age, to: 2))  \(padded(grouped(count), to: 15))  \(bar)\(mark)"
      }
  }

  private var failures: [String] {
    let counters = summary.caught.map { row($0, grouped(summary.failureCounters[$0, default: 0])) }
    // A failure is one in a short run too.
    let vacuous = counters.isEmpty ? summary.vacuous : []
    return (counters.isEmpty ? [row("failures", "0")] : counters)
      + (summary.firstFailure.map { [row("the first", $0)] } ?? []) + vacuous.map { row("too little", $0) }
  }

  private var verdict: String {
    let name = summary.flavor.rawValue
    let periods = "\(grouped(summary.gracePeriods)) grace periods"
    switch summary.verdict {
    case .passed: return "\(name): nothing failed in \(periods)."
    case .vacuous:
      return "\(name): nothing failed in \(periods), but the run did too little to mean anything."
    case .missed:
      return "\(name): not caught: \(summary.breakage?.rawValue ?? "") went by unseen in \(periods)."
    case .failed:
      let caught = summary.caught.joined(separator: ", ")
      guard let breakage = summary.breakage else { return "\(name): FAILED in \(periods): \(caught)." }
      return "\(name): caught: \(caught) (broken on purpose: \(breakage.rawValue))."
    }
  }

  private func row(_ name: String, _ value: String) -> String {
    name + String(repeating: " ", count: max(1, 20 - name.count)) + value
  }

  private func padded(_ value: some CustomStringConvertible, to width: Int) -> String {
    let text = value.description
    return String(repeating: " ", count: max(0, width - text.count)) + text
  }

  private func duration(_ microseconds: Int) -> String {
    microseconds < 1000 ? "\(microseconds) µs" : "\(microseconds / 1000).\(microseconds / 100 % 10) ms"
  }
}
