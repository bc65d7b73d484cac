import Foundation
import ToolSupport

/// Prints what happens: lines for people with a live line on a terminal, or JSON objects.
struct DemoOutput {
  private let output: RunOutput
  private let isReplacing: Bool

  init(_ format: RunFormat, isReplacing: Bool = false) {
    output = RunOutput(isJSON: format == .json)
    self.isReplacing = isReplacing
  }

  struct Started: Encodable {
    let event = "started"
    let seconds: Double
    let workers: Int
    let modules: [String]
    let isReplacing: Bool
    let listening: String
    let hostProcess: Int32
    let control: String
    /// Requests in flight at most.
    let window: Int

    private enum CodingKeys: String, CodingKey {
      case event, seconds, workers, modules, listening, control, window
      case isReplacing = "replace"
      case hostProcess = "hostPid"
    }
  }

  struct Progress: Encodable {
    let event = "progress"
    let seconds: Double
    let datagramsAnswered: Int
    let answersPerSecond: Int
    let cycles: Int
    let lastUnload: Int

    private enum CodingKeys: String, CodingKey {
      case event, seconds, cycles, datagramsAnswered, answersPerSecond
      case lastUnload = "lastUnloadUs"
    }
  }

  func started(_ started: Started) {
    if output.isJSON { return output.json(started) }
    let workers = started.workers == 1 ? "1 worker" : "\(started.workers) workers"
    let modules = started.modules.joined(separator: " and ")
    StandardOutput.write("A host with \(workers) relays between a client and an echo server;")
    StandardOutput.write(
      started.isReplacing
        ? "versions of \(modules) replace each other. Look on with:"
        : "\(modules) are loaded and unloaded in turn. Look on with:")
    StandardOutput.write("  quiesce lsmod --control \(started.control)")
  }

  /// Ten times a second.
  func live(_ progress: Progress) {
    output.live(
      "\(grouped(progress.answersPerSecond)) answers/s   \(grouped(progress.cycles)) \(isReplacing ? "replacements" : "modules in and out")   "
        + "last unload \(milliseconds(progress.lastUnload))")
  }

  /// Once a second.
  func progress(_ progress: Progress) {
    if output.isJSON { output.json(progress) }
  }

  func summary(_ summary: DemoSummary) {
    if output.isJSON { return output.json(summary) }
    output.endLive()
    for line in lines(summary) { StandardOutput.write(line) }
  }

  private func lines(_ summary: DemoSummary) -> [String] {
    let seconds = max(summary.seconds, 0.001)
    let perSecond = { (count: Int) in grouped(Int(Double(count) / seconds)) }
    let answers = perSecond(summary.datagramsAnswered)
    if let replace = summary.replace { return lines(summary, replace, answers) }
    return [
      "datagrams  \(grouped(summary.datagramsSent)), \(grouped(summary.lost)) lost, "
        + "\(grouped(summary.corrupted)) corrupted (\(answers) answers a second)",
      "modules    \(grouped(summary.cycles)) complete load-use-unload cycles, \(images(summary)) "
        + "(\(perSecond(summary.cycles)) a second)",
      "hooks      \(grouped(summary.moduleCalls)) calls into modules",
      "unload     p50 \(milliseconds(summary.unload.p50)), p99 \(milliseconds(summary.unload.p99)), "
        + "max \(milliseconds(summary.unload.max))",
    ]
  }

  private func lines(_ summary: DemoSummary, _ replace: DemoSummary.Replace, _ answers: String) -> [String] {
    let seen = replace.datagramsSeen.map(grouped) ?? "an unknown number of"
    return [
      "datagrams  \(grouped(summary.datagramsSent)), \(grouped(summary.lost)) lost, "
        + "\(grouped(summary.corrupted)) corrupted (\(answers) answers a second)",
      "versions   \(grouped(replace.replacements)) replacements, \(images(summary)) "
        + "(\(Int(replace.perSecond)) a second)",
      "marks      \(grouped(replace.mismarked)) answers with too few or too many; "
        + "\(seen) datagrams counted by the versions",
      "replace    p50 \(milliseconds(replace.duration.p50)), p99 \(milliseconds(replace.duration.p99)), "
        + "max \(milliseconds(replace.duration.max))",
    ]
  }

  private func images(_ summary: DemoSummary) -> String {
    if summary.cycles == 0 { return "nothing unloaded" }
    let left = summary.cycles - summary.unmapped
    return left == 0 ? "every image gone" : "\(grouped(left)) images not gone"
  }

  private func milliseconds(_ microseconds: Int) -> String {
    "\(microseconds / 1000).\(microseconds / 100 % 10) ms"
  }
}
