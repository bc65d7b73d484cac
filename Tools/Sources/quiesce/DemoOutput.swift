import Foundation

/// Prints what happens: lines for people with a live line on a terminal, or JSON objects.
struct DemoOutput {
  private let format: DemoFormat
  private let isLive: Bool

  init(_ format: DemoFormat) {
    self.format = format
    let terminal = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
    isLive = format == .text && isatty(STDOUT_FILENO) == 1 && terminal != "dumb"
  }

  struct Started: Encodable {
    let event = "started"
    let seconds: Double
    let workers: Int
    let modules: [String]
    let listening: String
    let hostProcess: Int32
    let control: String
    /// Requests in flight at most.
    let window: Int

    private enum CodingKeys: String, CodingKey {
      case event, seconds, workers, modules, listening, control, window
      case hostProcess = "host_pid"
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
      case event, seconds, cycles
      case datagramsAnswered = "datagrams_answered"
      case answersPerSecond = "answers_per_second"
      case lastUnload = "last_unload_us"
    }
  }

  func started(_ started: Started) {
    switch format {
    case .json: json(started)
    case .text:
      let workers = started.workers == 1 ? "1 worker" : "\(started.workers) workers"
      let modules = started.modules.joined(separator: " and ")
      StandardOutput.write("A host with \(workers) relays between a client and an echo server;")
      StandardOutput.write("\(modules) are loaded and unloaded in turn. Look on with:")
      StandardOutput.write("  quiesce lsmod --control \(started.control)")
    }
  }

  /// Ten times a second.
  func live(_ progress: Progress) {
    if !isLive { return }
    let line =
      "\(grouped(progress.answersPerSecond)) answers/s   \(grouped(progress.cycles)) modules in and out   "
      + "last unload \(milliseconds(progress.lastUnload))"
    StandardOutput.write(bytes: Array("\r\u{1b}[K\(line)".utf8))
  }

  /// Once a second.
  func progress(_ progress: Progress) {
    if format == .json { json(progress) }
  }

  func summary(_ summary: DemoSummary) {
    if format == .json { return json(summary) }
    if isLive { StandardOutput.write(bytes: Array("\r\u{1b}[K".utf8)) }
    for line in lines(summary) { StandardOutput.write(line) }
  }

  private func lines(_ summary: DemoSummary) -> [String] {
    let seconds = max(summary.seconds, 0.001)
    let perSecond = { (count: Int) in grouped(Int(Double(count) / seconds)) }
    let answers = perSecond(summary.datagramsAnswered)
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

  private func images(_ summary: DemoSummary) -> String {
    if summary.cycles == 0 { return "nothing unloaded" }
    let left = summary.cycles - summary.unmapped
    return left == 0 ? "every image gone" : "\(grouped(left)) images not gone"
  }

  private func json(_ value: some Encodable) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Numbers, strings and arrays of them: there is nothing that JSON could not say.
    if let data = try? encoder.encode(value) { StandardOutput.write(String(decoding: data, as: UTF8.self)) }
  }

  /// 1234567 as 1,234,567.
  private func grouped(_ number: Int) -> String {
    var text = ""
    for (index, digit) in String(number).reversed().enumerated() {
      if index > 0 && index % 3 == 0 && digit != "-" { text.append(",") }
      text.append(digit)
    }
    return String(text.reversed())
  }

  private func milliseconds(_ microseconds: Int) -> String {
    "\(microseconds / 1000).\(microseconds / 100 % 10) ms"
  }
}
