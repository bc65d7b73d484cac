import ControlProtocol
import Foundation
import ToolSupport

/// The trace event format of Chrome, which Perfetto reads too.
///
/// What is done on one thread without a pause is a slice of that thread (`X`). Requests, loads and
/// unloads may wait while the thread does something else: each has a track of its own (`b` and
/// `e`). Both are written at their end, so that each is whole whenever the trace ends; what has not
/// ended by then is closed with the last event, and says so.
///
/// Source: the "Trace Event Format" document of Chromium's tracing.
struct ChromeTrace: TraceWriter {
  private var process: Int32 = 0
  private var isFirst = true
  private var named: Set<Int32> = []
  /// What has begun, by number.
  private var open: [UInt64: TraceRow] = [:]
  private var last: UInt64 = 0
  private var lost = 0

  private static let mayPause: Set<String> = ["request", "load", "unload", "replace"]

  private struct Event: Encodable {
    var name: String
    var ph: String
    var ts: Double?
    var dur: Double?
    var pid: Int32
    var tid: Int32
    var cat = "module"
    var id: String?
    var s: String?
    var args: [String: String]?
  }

  mutating func head(_ reply: TraceReply) -> String {
    process = reply.process
    last = reply.now
    return #"{"displayTimeUnit":"ns","traceEvents":["#
      + line(
        Event(
          name: "process_name", ph: "M", pid: process, tid: process, args: ["name": "quiesce host \(process)"]
        ))
  }

  mutating func body(_ reply: TraceReply) -> String {
    lost += reply.lost
    var text = ""
    for event in reply.events {
      last = max(last, event.time)
      if let name = event.threadName, named.insert(event.thread).inserted {
        text += line(
          Event(name: "thread_name", ph: "M", pid: process, tid: event.thread, args: ["name": name]))
      }
      text += lines(for: event)
    }
    return text
  }

  mutating func tail() -> String {
    var text = ""
    for event in open.values.sorted(by: { $0.number < $1.number }) {
      text += lines(of: event, from: event.time, to: last, ["unfinished": "true"])
    }
    return text + "\n],\"otherData\":{\"lost events\":\"\(lost)\"}}\n"
  }

  private mutating func lines(for event: TraceRow) -> String {
    switch event.phase {
    case "begin":
      open[event.number] = event
      return ""
    case "end":
      if let beginning = event.beginning { open[beginning] = nil }
      let duration = UInt64(max(0, event.nanoseconds ?? 0))
      return lines(of: event, from: event.time - min(event.time, duration), to: event.time, arguments(event))
    default:
      return line(
        Event(
          name: "\(event.event) \(event.module)", ph: "i", ts: microseconds(event.time), pid: process,
          tid: event.thread, s: "t", args: arguments(event)))
    }
  }

  private mutating func lines(
    of event: TraceRow, from start: UInt64, to end: UInt64, _ arguments: [String: String]
  ) -> String {
    var slice = Event(
      name: "\(event.event) \(event.module)", ph: "X", ts: microseconds(start), pid: process,
      tid: event.thread, args: arguments)
    if !Self.mayPause.contains(event.event) {
      slice.dur = microseconds(end - start)
      return line(slice)
    }
    slice.ph = "b"
    slice.id = String(event.number)
    let first = line(slice)
    slice.ph = "e"
    slice.ts = microseconds(end)
    slice.args = nil
    return first + line(slice)
  }

  private func arguments(_ event: TraceRow) -> [String: String] {
    var arguments = ["module": event.module]
    arguments["label"] = event.label
    arguments["errno"] = event.errno
    return arguments
  }

  private func microseconds(_ nanoseconds: UInt64) -> Double { Double(nanoseconds) / 1000 }

  private mutating func line(_ event: Event) -> String {
    // Strings and finite numbers: there is nothing that cannot be encoded.
    guard let json = try? JSON.line(event) else { return "" }
    defer { isFirst = false }
    return (isFirst ? "\n" : ",\n") + json
  }
}
