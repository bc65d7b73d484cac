import ArgumentParser
import Foundation

/// The output format.
enum ReportFormat: String, CaseIterable, ExpressibleByArgument {
  case text, json
}

/// Prints rows as they come, writes them to a file too, and remembers which rows missed their
/// limit.
final class Report {
  private let format: ReportFormat
  private let file: FileHandle?
  private var missed: [Row] = []
  private var judged = 0

  /// Color only on a terminal; see https://no-color.org
  private let hasColor = isatty(1) == 1 && (getenv("NO_COLOR")?.pointee ?? 0) == 0

  init(format: ReportFormat, file: FileHandle?) {
    (self.format, self.file) = (format, file)
  }

  func begin(_ machine: Machine) {
    json(["machine": machine])
    text("\(machine.description)\n")
  }

  func begin(_ experiment: any Experiment) {
    text(emphasized(experiment.name.rawValue))
    for note in experiment.notes { text("  \(note)") }
    var titles = "what".padded(to: 36) + "".aligned(to: 24) + "threads".aligned(to: 8)
    titles += "ns".aligned(to: 12) + "median".aligned(to: 12) + "to C".aligned(to: 9)
    text("  \(titles)\("wanted".aligned(to: 14))")
  }

  /// In both formats a message for people. A program that reads rows sees that these are missing.
  func skip(_ sentence: String, of experiment: any Experiment) {
    StandardError.write("bench: \(experiment.name.rawValue): skipped: \(sentence)")
  }

  func add(_ row: Row) {
    if let isOK = row.isOK {
      judged += 1
      if !isOK { missed.append(row) }
    }
    json(row)
    text(line(row))
  }

  /// Prints which figures were missed. Returns whether none was.
  func finish() -> Bool {
    if judged > 0 { text("\n\(judged - missed.count) of \(judged) promised figures hold.") }
    for row in missed { StandardError.write("bench: missed: \(reason(row))") }
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
    var line = "  " + row.contender.padded(to: 36) + parameter(row.parameter).aligned(to: 24)
    line += "\(row.threads)".aligned(to: 8) + nanoseconds(row.nanoseconds).aligned(to: 12)
    line += nanoseconds(row.median).aligned(to: 12) + ratio(row.ratioToC).aligned(to: 9)
    switch row.wanted {
    case .ratio(let limit): line += "<= \(ratio(limit))".aligned(to: 14)
    case .nanoseconds(let limit): line += "<= \(nanoseconds(limit)) ns".aligned(to: 14)
    case nil: line += "".aligned(to: 14)
    }
    switch row.isOK {
    case true?: line += colored("  ok ", 32)
    case false?: line += colored("  NOT", 31)
    case nil: line += "     "
    }
    if let base = row.base, row.wanted != nil || row.c == nil { line += "  \(ratio(row.ratio)) of \(base)" }
    if let sleeps = row.sleeps, sleeps > 0 { line += "  (slept \(sleeps) times)" }
    for (name, value) in row.also.sorted(by: { $0.key < $1.key }) { line += "  \(name) \(figure(value))" }
    while line.hasSuffix(" ") { line.removeLast() }
    return line
  }

  private func parameter(_ parameter: Row.Parameter?) -> String {
    guard let parameter else { return "" }
    return "\(parameter.name) \(parameter.value.map { String(format: "%.0f", $0) } ?? "unlimited")"
  }

  private func nanoseconds(_ value: Double) -> String {
    String(format: value < 100 ? "%.3f" : "%.0f", value)
  }

  private func ratio(_ value: Double?) -> String {
    value.map { String(format: "%.3f", $0) } ?? ""
  }

  private func figure(_ value: Double) -> String { String(format: "%.4g", value) }

  private func colored(_ text: String, _ color: Int) -> String {
    hasColor ? "\u{1B}[\(color)m\(text)\u{1B}[0m" : text
  }

  private func emphasized(_ text: String) -> String { colored(text, 1) }

  private func json(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    // Cannot fail: the row consists of numbers and strings, and the strategy above covers every
    // number.
    guard var line = try? encoder.encode(value) else { return }
    line.append(10)
    file?.write(line)
    if format == .json { FileHandle.standardOutput.write(line) }
  }

  private func text(_ line: String) {
    if format == .text { FileHandle.standardOutput.write(Data("\(line)\n".utf8)) }
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
