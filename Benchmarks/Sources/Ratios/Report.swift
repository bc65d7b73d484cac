import ArgumentParser
import Foundation

/// How the report prints.
enum ReportFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json
}

/// Prints rows as they come, and remembers which of them missed what is wanted.
final class Report {
  private let format: ReportFormat
  private var missed: [Row] = []
  private var judged = 0

  init(format: ReportFormat) {
    self.format = format
  }

  func begin(_ machine: Machine) {
    switch format {
    case .json: json(["machine": machine])
    case .text: text("\(machine.description)\n")
    }
  }

  func begin(_ experiment: any Experiment) {
    if format == .json { return }
    text("\(experiment.name.rawValue)")
    for note in experiment.notes { text("  \(note)") }
    let titles = "threads".aligned(to: 8) + "ns".aligned(to: 12) + "median".aligned(to: 12)
    let ratios = "ratio".aligned(to: 9) + "median".aligned(to: 9) + "wanted".aligned(to: 14)
    text("  " + "what".padded(to: 44) + titles + ratios)
  }

  /// In both formats a line for people: a program that reads rows sees that they are missing.
  func skip(_ sentence: String, of experiment: any Experiment) {
    StandardError.write("ratios: \(experiment.name.rawValue): skipped: \(sentence)")
  }

  func add(_ row: Row) {
    if let isOK = row.isOK {
      judged += 1
      if !isOK { missed.append(row) }
    }
    switch format {
    case .json: json(row)
    case .text: text(line(row))
    }
  }

  /// Says what was missed. Returns whether nothing was.
  func finish() -> Bool {
    if format == .text {
      text("\n\(judged - missed.count) of \(judged) wanted figures hold.")
    }
    for row in missed { StandardError.write("ratios: missed: \(reason(row))") }
    return missed.isEmpty
  }

  private func reason(_ row: Row) -> String {
    let what = "\(row.experiment.rawValue): \(row.contender), threads: \(row.threads)"
    let figure = "\(nanoseconds(row.nanoseconds)) ns"
    switch row.wanted {
    case .ratio(let limit):
      let base = row.base ?? "nothing"
      return "\(what): \(figure) is \(ratio(row.ratio)) of \(base); wanted is at most \(ratio(limit))"
    case .nanoseconds(let limit):
      return "\(what): \(figure); wanted is at most \(nanoseconds(limit)) ns"
    case nil: return what
    }
  }

  private func line(_ row: Row) -> String {
    var line = "  " + row.contender.padded(to: 44) + "\(row.threads)".aligned(to: 8)
    line += nanoseconds(row.nanoseconds).aligned(to: 12) + nanoseconds(row.median).aligned(to: 12)
    line += ratio(row.ratio).aligned(to: 9) + ratio(row.medianRatio).aligned(to: 9)
    switch row.wanted {
    case .ratio(let limit): line += "<= \(ratio(limit))".aligned(to: 14)
    case .nanoseconds(let limit): line += "<= \(nanoseconds(limit)) ns".aligned(to: 14)
    case nil: line += "".aligned(to: 14)
    }
    switch row.isOK {
    case true?: line += "  ok "
    case false?: line += "  NOT"
    case nil: line += "     "
    }
    if let base = row.base { line += "  of \(base)" }
    if let sleeps = row.sleeps, sleeps > 0 { line += "  (slept \(sleeps) times)" }
    while line.hasSuffix(" ") { line.removeLast() }
    return line
  }

  private func nanoseconds(_ value: Double) -> String {
    String(format: value < 100 ? "%.3f" : "%.0f", value)
  }

  private func ratio(_ value: Double?) -> String {
    value.map { String(format: "%.3f", $0) } ?? ""
  }

  private func json(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    // Numbers and strings: with the strategy above there is nothing that JSON could not say.
    if let data = try? encoder.encode(value) { text(String(decoding: data, as: UTF8.self)) }
  }

  private func text(_ line: String) {
    FileHandle.standardOutput.write(Data("\(line)\n".utf8))
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(0, width - count))
  }

  fileprivate func aligned(to width: Int) -> String {
    String(repeating: " ", count: Swift.max(0, width - count)) + self
  }
}
