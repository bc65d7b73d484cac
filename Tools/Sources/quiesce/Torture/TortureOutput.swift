import Foundation
import ToolSupport
import Torture

/// Prints how a torture goes: lines for people with a live line on a terminal, or JSON objects.
struct TortureOutput {
  private let output: RunOutput

  init(_ format: RunFormat) { output = RunOutput(isJSON: format == .json) }

  private struct Started: Encodable {
    let event = "started"
    let flavor: FlavorName
    let seconds: Double
    let readers: Int
    let writers: Int
    let fakeWriters: Int
    let phases: [String]
    let seed: UInt64
    let breakage: Breakage?
  }

  func started(_ options: TortureOptions) {
    if output.isJSON {
      output.json(
        Started(
          flavor: options.flavor, seconds: options.seconds, readers: options.readers,
          writers: options.writers,
          fakeWriters: options.fakeWriters, phases: options.phases.map(\.rawValue).sorted(),
          seed: options.seed,
          breakage: options.breakage))
    } else {
      let broken = options.breakage.map { ", broken on purpose: \($0.rawValue)" } ?? ""
      let seconds = options.seconds.formatted(
        .number.grouping(.never).locale(Locale(identifier: "en_US_POSIX")))
      StandardOutput.write(
        "\(options.flavor.rawValue) for \(seconds) s: \(options.readers) readers, \(options.writers) writers, "
          + "\(options.fakeWriters) fake writers, seed \(options.seed)\(broken)")
    }
  }

  /// Once a second.
  func progress(_ progress: TortureProgress) {
    if output.isJSON { return output.json(progress) }
    output.live(
      "\(Int(progress.seconds)) s   \(grouped(progress.reads)) reads   "
        + "\(grouped(progress.gracePeriods)) grace periods   \(grouped(progress.failures)) failures")
  }

  func summary(_ summary: TortureSummary) {
    if output.isJSON { return output.json(summary) }
    output.endLive()
    for line in TortureReport(summary).lines { StandardOutput.write(line) }
  }
}
