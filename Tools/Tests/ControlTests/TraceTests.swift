import Foundation
import ModuleManager
import Relay
import Testing

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer
@testable import quiesce

/// The verb, and the formats, without a host.
@Suite struct TraceTests {
  private func ask(_ session: Session, _ line: String) -> String {
    session.answer(Data(line.utf8)).map { String(decoding: $0, as: UTF8.self) } ?? "no reply"
  }

  @Test func tracingLastsFromTheFirstRequestToTheEndOfTheSession() {
    let service = FakeService()
    do {
      let session = Session(service: service, holder: "client 1", socket: -1)
      #expect(
        ask(session, #"{"verb":"trace"}"#)
          == #"{"events":[],"left_out":0,"lost":0,"now":5,"ok":true,"process":7}"#)
      #expect(service.followers.withLock { $0 } == 1)
      let both = ask(session, #"{"verb":"trace"}"#)
      #expect(both.contains(#""module":"a""#) && both.contains(#""module":"b""#))
      #expect(service.followers.withLock { $0 } == 1)
    }
    #expect(service.followers.withLock { $0 } == 0)
  }

  /// The first request has the filter.
  @Test func filterIsThatOfTheFirstRequest() {
    let service = FakeService()
    let one = Session(service: service, holder: "client 1", socket: -1)
    _ = ask(one, #"{"verb":"trace","modules":["b","c"]}"#)
    let rows = ask(one, #"{"verb":"trace","modules":["a"]}"#)
    #expect(!rows.contains(#""module":"a""#) && rows.contains(#""module":"b""#))
    let none = Session(service: service, holder: "client 2", socket: -1)
    _ = ask(none, #"{"verb":"trace","modules":["c"]}"#)
    let start = ContinuousClock.now
    let reply = ask(none, #"{"verb":"trace","seconds":0.02}"#)
    #expect(reply.contains(#""events":[]"#) && ContinuousClock.now - start >= .milliseconds(20))
  }

  @Test(arguments: [
    #"{"verb":"trace","seconds":-1}"#, #"{"verb":"trace","capacity":0}"#,
    #"{"verb":"trace","capacity":65537}"#, #"{"verb":"trace","modules":"a"}"#,
    #"{"verb":"trace","kinds":"get"}"#, #"{"verb":"trace","at_least":-1}"#,
    #"{"verb":"trace","at_least":1e300}"#,
    #"{"verb":"trace","modules":[1]}"#, #"{"verb":"trace","capacity":"many"}"#,
  ])
  func invalidTraceRequestStartsNothing(request: String) {
    let service = FakeService()
    let session = Session(service: service, holder: "client 1", socket: -1)
    #expect(ask(session, request).contains(#""errno":"EINVAL""#))
    #expect(service.followers.withLock { $0 } == 0)
  }

  /// A client that goes while the host waits for something to tell: no client follows any more.
  @Test func disconnectedClientStopsFollowing() async throws {
    let server = try TestServer()
    try await onThread {
      defer { server.stop() }
      do {
        let client = try RawClient(server.path)
        for _ in 0..<2 { client.send(#"{"verb":"trace","modules":["c"]}"# + "\n") }
        #expect(try client.reply()?.contains(#""ok":true"#) == true)
        #expect(server.service.followers.withLock { $0 } == 1)
      }
      try eventually("no client follows") { server.service.followers.withLock { $0 } == 0 }
    }
  }

  private let rows = [
    TraceRow(
      number: 4, time: 1_002_000_345, thread: 9, threadName: "modules", event: "unload", phase: "begin",
      module: "m"),
    TraceRow(number: 5, time: 1_002_100_000, thread: 9, event: "exit", phase: "begin", module: "m"),
    TraceRow(
      number: 6, time: 1_002_300_000, thread: 9, event: "exit", phase: "end", module: "m", errno: "EBUSY",
      nanoseconds: 199_970, beginning: 5),
    TraceRow(
      number: 7, time: 1_003_000_000, thread: 10, threadName: "worker\n", event: "get", phase: "moment",
      module: "a-module-with-a-long-name", label: #"a "label"\#u{1b}[2J"#),
  ]

  @Test func textIsOneAlignedLineAnEvent() {
    var writer = TextTrace()
    let text =
      writer.head(TraceReply(events: [], lost: 0, now: 1_000_000_000, process: 7))
      + writer.body(TraceReply(events: rows, lost: 0, now: 0, process: 7)) + writer.tail()
    #expect(
      text == """
           # SECONDS  THREAD                  EVENT            MODULE            DETAILS
            0.002000  modules-9               unload begin     m
            0.002100  ?-9                     exit begin       m
            0.002300  ?-9                     exit end         m                 EBUSY, after 200.0 µs
            0.003000  worker\\n-10             get              a-module-with-a-long-name  a "label"\\u{1B}[2J

        """)
  }

  @Test(arguments: [
    (0, "0 ns"), (999, "999 ns"), (1000, "1.0 µs"), (999_949, "999.9 µs"), (999_950, "1.0 ms"),
    (12_345_678, "12.3 ms"), (61_000_000_000, "61.0 s"),
  ])
  func durationsHaveAUnit(nanoseconds: Int, text: String) {
    #expect(TextTrace.duration(nanoseconds) == text)
  }

  /// Whenever it ends, what has begun is closed, and says that it had not ended.
  @Test func timelineIsValidWhereverItEnds() throws {
    for count in 0...rows.count {
      var writer = ChromeTrace()
      let text =
        writer.head(TraceReply(events: [], lost: 0, now: 1_000_000_000, process: 7))
        + writer.body(TraceReply(events: Array(rows[..<count]), lost: 3, now: 0, process: 7)) + writer.tail()
      let timeline = try Timeline(text)
      #expect(timeline.lost == "3")
      #expect(
        timeline.unfinished == [[], ["unload m"], ["exit m", "unload m"], ["unload m"], ["unload m"]][count])
      #expect(timeline.isBalanced)
    }
    var writer = ChromeTrace()
    let text =
      writer.head(TraceReply(events: [], lost: 0, now: 0, process: 7))
      + writer.body(TraceReply(events: rows, lost: 0, now: 0, process: 7)) + writer.tail()
    let exit = try #require(try Timeline(text).events.first { $0["name"] as? String == "exit m" })
    #expect(exit["ph"] as? String == "X" && exit["tid"] as? Int == 9 && exit["pid"] as? Int == 7)
    #expect(exit["ts"] as? Double == 1_002_100.03 && exit["dur"] as? Double == 199.97)
  }
}

/// A timeline as a viewer reads it.
struct Timeline {
  let events: [[String: Any]]
  let lost: String?

  init(_ text: String) throws {
    let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
    events = try #require(object?["traceEvents"] as? [[String: Any]])
    lost = (object?["otherData"] as? [String: String])?["lost events"]
  }

  /// Every track that is opened is closed, later; every slice has a length; every moment a scope.
  var isBalanced: Bool {
    var open: [String: Double] = [:]
    for event in events {
      guard let name = event["name"] as? String, event["pid"] is Int, event["tid"] is Int else {
        return false
      }
      let time = event["ts"] as? Double
      switch event["ph"] as? String {
      case "M": continue
      case "i" where event["s"] as? String == "t" && time != nil: continue
      case "X":
        guard time != nil, let length = event["dur"] as? Double, length >= 0 else { return false }
      case "b":
        guard let id = event["id"] as? String, open["\(name) \(id)"] == nil else { return false }
        open["\(name) \(id)"] = time
      case "e":
        guard let id = event["id"] as? String, let begin = open.removeValue(forKey: "\(name) \(id)"),
          let time, time >= begin
        else { return false }
      default: return false
      }
    }
    return open.isEmpty
  }

  /// What had not ended, sorted.
  var unfinished: [String] {
    events.filter { ($0["args"] as? [String: String])?["unfinished"] != nil }
      .compactMap { $0["name"] as? String }.sorted()
  }

  func names(_ phase: String) -> [String] {
    events.filter { $0["ph"] as? String == phase }.compactMap { $0["name"] as? String }
  }
}
