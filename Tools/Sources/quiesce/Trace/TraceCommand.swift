import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import Synchronization
import ToolSupport

/// `quiesce trace`
struct TraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trace",
    abstract: "Follow what happens to the modules of a running host.",
    usage: """
      quiesce trace [--format <format>] [--output <path>]
        [--seconds <seconds>] [--module <name> ...]
        [--kind <kind> ...] [--at-least <seconds>] [--buffer <events>]
        [--control <path>]
      """,
    discussion: """
      Prints references that are acquired, released and refused, with their holders; and requests, loads and unloads, \
      with their steps and the duration of each. The host records while a client follows. The command ends with \
      Ctrl-C, after --seconds, or with the host. Events that were overwritten before they could be read are counted on \
      standard error. What --module, --kind and --at-least leave out is not recorded, and overwrites nothing.

      Times in json are nanoseconds of the host's monotonic clock. The format chrome is for timeline viewers: \
      ui.perfetto.dev, chrome://tracing.

      Example:
        quiesce trace --module conntrack --seconds 10
        quiesce trace --kind unload --kind readers --at-least 0.01
        quiesce trace --format chrome --output unload.json
      """)

  @Option(help: "How to print: text, json (one object a line) or chrome.")
  var format = TraceFormat.text

  @Option(
    help: ArgumentHelp(
      "Write to this file, which is replaced when the trace is complete (default: standard output).",
      valueName: "path"))
  var output: String?

  @Option(help: ArgumentHelp("End after this time (default: never).", valueName: "seconds"))
  var seconds: Double?

  @Option(help: ArgumentHelp("Show this module only; may be given several times.", valueName: "name"))
  var module: [String] = []

  @Option(
    help: ArgumentHelp(
      "Show events of this kind only, such as get or unload; may be given several times.",
      valueName: "kind"))
  var kind: [String] = []

  @Option(
    help: ArgumentHelp("Show only the ends of what took at least this time.", valueName: "seconds"))
  var atLeast: Double?

  @Option(help: ArgumentHelp("Events that the host keeps until they are read.", valueName: "events"))
  var buffer = 16_384

  @OptionGroup var options: ControlOptions

  func validate() throws {
    if let seconds, !(seconds > 0 && seconds <= 1e9) {
      throw ValidationError("--seconds is more than 0, and at the most 1000000000.")
    }
    if !(1...65_536).contains(buffer) { throw ValidationError("--buffer is from 1 to 65536 events.") }
    if let atLeast, !(atLeast >= 0 && atLeast <= 1e9) {
      throw ValidationError("--at-least is from 0 to 1000000000 seconds.")
    }
    if kind.contains("") { throw ValidationError("--kind needs a name.") }
    if module.contains("") { throw ValidationError("--module needs a name.") }
  }

  private var filter: TraceFilterRow {
    TraceFilterRow(
      modules: module.isEmpty ? nil : module, kinds: kind.isEmpty ? nil : kind, seconds: atLeast)
  }

  func run() throws {
    let signals = TerminationSignals()
    try reporting {
      // First: a trace that cannot be written must not be taken.
      let file = try TraceOutput(path: output)
      let client = try options.connectReadOnly()
      let isInterrupted = TraceInterruption(signals, client)
      var follower = TraceFollower(
        client: client, filter: filter, writer: format.writer(), output: file)
      do throws(ControlError) {
        try follower.begin(capacity: buffer)
        try follower.run(until: seconds.map { ContinuousClock.now + .seconds($0) }, or: isInterrupted)
      } catch {
        // Whatever ended it, what was read is worth having, and has its closing bracket.
        try follower.finish()
        // The reader of standard output has gone.
        let isEnough = output == nil && error.errno == EPIPE && follower.isOutputClosed
        if isEnough || isInterrupted.isSet { return }
        throw error
      }
      try follower.finish()
      withExtendedLifetime(client) {}
    }
  }
}

/// Ctrl-C and the like, as something to look for; and a host that does not answer is hung up on.
private final class TraceInterruption: Sendable {
  private let flag = Atomic(false)

  init(_ signals: TerminationSignals, _ client: ControlClient) {
    let hangUp = client.hangUp
    Thread.start(named: "signals") { [self] in
      signals.wait()
      flag.store(true, ordering: .releasing)
      Thread.sleep(forTimeInterval: 2)
      hangUp()
    }
  }

  var isSet: Bool { flag.load(ordering: .acquiring) }
}

/// Asks the host time and again, and passes on what it says.
private struct TraceFollower {
  let client: ControlClient
  let filter: TraceFilterRow
  var writer: any TraceWriter
  let output: TraceOutput
  private(set) var isOutputClosed = false
  private var hasBegun = false
  private var lost = 0
  private var saidLost = 0
  private var lastSaid: ContinuousClock.Instant?

  init(client: ControlClient, filter: TraceFilterRow, writer: any TraceWriter, output: TraceOutput) {
    self.client = client
    self.filter = filter
    self.writer = writer
    self.output = output
  }

  mutating func begin(capacity: Int) throws(ControlError) {
    let first = try client.trace(waiting: 0, filter: filter, capacity: capacity)
    hasBegun = true
    try put(writer.head(first))
  }

  mutating func run(
    until deadline: ContinuousClock.Instant?, or isInterrupted: TraceInterruption
  ) throws(ControlError) {
    while !isInterrupted.isSet {
      let left = deadline.map { ContinuousClock.now.duration(to: $0) / .seconds(1) } ?? 1
      if left <= 0 { break }
      // Short: between two of them is where a signal is noticed.
      try pass(client.trace(waiting: min(left, 0.2)))
    }
    // What had happened by then.
    var reply = try client.trace(waiting: 0)
    let end = reply.now
    try pass(reply)
    while let last = reply.events.last, last.time < end {
      reply = try client.trace(waiting: 0)
      try pass(reply)
    }
  }

  /// The last lines. What cannot be written any more is not tried; and a trace that never began is
  /// none: the file that was there before stays.
  mutating func finish() throws(ControlError) {
    sayLost()
    if isOutputClosed || !hasBegun { return }
    try put(writer.tail())
    try output.finish()
  }

  private mutating func pass(_ reply: TraceReply) throws(ControlError) {
    lost += reply.lost
    if reply.lost > 0, lastSaid.map({ ContinuousClock.now - $0 > .seconds(1) }) ?? true { sayLost() }
    try put(writer.body(reply))
  }

  private mutating func sayLost() {
    if lost == saidLost { return }
    StandardError.write(
      "quiesce: trace: \(lost - saidLost) events lost: they were overwritten before they were read")
    saidLost = lost
    lastSaid = .now
  }

  private mutating func put(_ text: String) throws(ControlError) {
    do throws(ControlError) { try output.write(text) } catch {
      isOutputClosed = true
      throw error
    }
  }
}
