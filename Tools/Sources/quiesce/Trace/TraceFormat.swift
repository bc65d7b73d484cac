import ArgumentParser
import ControlProtocol
import Foundation
import ToolSupport

/// How a trace is printed.
enum TraceFormat: String, ExpressibleByArgument, CaseIterable {
  case text, json, chrome

  func writer() -> any TraceWriter {
    switch self {
    case .text: TextTrace()
    case .json: JSONTrace()
    case .chrome: ChromeTrace()
    }
  }
}

/// Makes text of a trace: head, body after body, tail.
protocol TraceWriter {
  mutating func head(_ reply: TraceReply) -> String
  mutating func body(_ reply: TraceReply) -> String
  mutating func tail() -> String
}

/// A line an event, for people.
struct TextTrace: TraceWriter {
  private var start: UInt64 = 0

  mutating func head(_ reply: TraceReply) -> String {
    start = reply.now
    return Self.line("# SECONDS", "THREAD", "EVENT", "MODULE", "DETAILS")
  }

  func body(_ reply: TraceReply) -> String { reply.events.map(line).joined() }

  func tail() -> String { "" }

  private func line(_ event: TraceRow) -> String {
    var details = event.label ?? ""
    if let errno = event.errno { details += details.isEmpty ? errno : " (\(errno))" }
    if let nanoseconds = event.nanoseconds {
      details += (details.isEmpty ? "" : ", ") + "after \(Self.duration(nanoseconds))"
    }
    return Self.line(
      Self.seconds(event.time > start ? event.time - start : 0),
      "\(event.threadName ?? "?")-\(event.thread)",
      event.phase == "moment" ? event.event : "\(event.event) \(event.phase)", event.module, details)
  }

  private static func line(
    _ time: String, _ thread: String, _ event: String, _ module: String, _ details: String
  ) -> String {
    var line = String(repeating: " ", count: max(0, 12 - time.count)) + time
    for (cell, width) in [(thread, 22), (event, 15), (module, 16), (details, 0)] {
      let cell = cell.onOneLine
      line += "  " + cell + String(repeating: " ", count: max(0, width - cell.count))
    }
    while line.last == " " { line.removeLast() }
    return line + "\n"
  }

  private static func seconds(_ nanoseconds: UInt64) -> String {
    let microseconds = nanoseconds / 1000
    let fraction = String(microseconds % 1_000_000)
    return "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.count) + fraction
  }

  /// `812 ns`, `4.1 µs`, `12.0 ms`, `3.5 s`.
  static func duration(_ nanoseconds: Int) -> String {
    var value = Double(nanoseconds)
    if value < 1000 { return "\(nanoseconds) ns" }
    var unit = "s"
    value /= 1000
    for name in ["µs", "ms"] {
      // What would be printed as 1000.0 belongs to the next unit.
      if value < 999.95 {
        unit = name
        break
      }
      value /= 1000
    }
    return "\((value * 10).rounded() / 10) \(unit)"
  }
}

/// A JSON object a line, for programs.
struct JSONTrace: TraceWriter {
  func head(_ reply: TraceReply) -> String { "" }

  func body(_ reply: TraceReply) -> String {
    // Strings and whole numbers: there is nothing that cannot be encoded.
    reply.events.compactMap { try? JSON.line($0) + "\n" }.joined()
  }

  func tail() -> String { "" }
}
