import Foundation
import Torture

/// Prints how a torture goes: lines for people with a live line on a terminal, or JSON objects.
struct TortureOutput {
  private let format: TortureFormat
  private let isLive: Bool

  init(_ format: TortureFormat) {
    self.format = format
    let terminal = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
    isLive = format == .text && isatty(STDOUT_FILENO) == 1 && terminal != "dumb"
  }

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

    private enum CodingKeys: String, CodingKey {
      case event, flavor, seconds, readers, writers, phases, seed, breakage
      case fakeWriters = "fake_writers"
    }
  }

  func started(_ options: TortureOptions) {
    switch format {
    case .json:
      json(
        Started(
          flavor: options.flavor, seconds: options.seconds, readers: options.readers,
          writers: options.writers,
          fakeWriters: options.fakeWriters, phases: options.phases.map(\.rawValue).sorted(),
          seed: options.seed,
          breakage: options.breakage))
    case .text:
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
    if format == .json { return json(progress) }
    if !isLive { return }
    let line =
      "\(Int(progress.seconds)) s   \(grouped(progress.reads)) reads   "
      + "\(grouped(progress.gracePeriods)) grace periods   \(grouped(progress.failures)) failures"
    StandardOutput.write(bytes: Array("\r\u{1b}[K\(line)".utf8))
  }

  func summary(_ summary: TortureSummary) {
    if format == .json { return json(summary) }
    if isLive { StandardOutput.write(bytes: Array("\r\u{1b}[K".utf8)) }
    for line in TortureReport(summary).lines { StandardOutput.write(line) }
  }

  private func json(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Numbers, strings and arrays of them: there is nothing that JSON could not say.
    if let data = try? encoder.encode(value) { StandardOutput.write(String(decoding: data, as: UTF8.self)) }
  }
}
