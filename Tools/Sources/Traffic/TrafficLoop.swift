internal import CRelay
internal import Relay

/// The state that a client's thread owns.
final class TrafficLoop {
  private var flows: [FlowBox] = []
  private let poller: Poller
  private let batch: PacketBatch
  private let progress: TrafficProgress
  private let limit: Int
  private var report = TrafficReport()
  private var lastAnswer: UInt64 = 0

  /// After this long without an answer since the last request, missing answers count as lost.
  private static let silence: UInt64 = 2_000_000_000

  /// A class, because an array cannot hold noncopyable values.
  private final class FlowBox {
    var flow: TrafficFlow

    init(_ flow: consuming TrafficFlow) {
      self.flow = flow
    }
  }

  init(
    target: SocketAddress, flows count: Int, window: Int, lengths: ClosedRange<Int>, marks: Int, limit: Int,
    progress: TrafficProgress
  ) throws(RelayError) {
    poller = try Poller()
    batch = try PacketBatch()
    self.progress = progress
    self.limit = limit
    for index in 0..<count {
      let socket = try Socket(like: target)
      try socket.connect(to: target)
      try poller.add(socket.descriptor, token: UInt64(index), for: "\(target)")
      flows.append(
        FlowBox(TrafficFlow(on: socket, index: index, window: window, lengths: lengths, marks: marks)))
    }
  }

  func run() {
    lastAnswer = relay_clock()
    for box in flows { send(&box.flow) }
    while !isDone {
      // The timeout serves sockets that took less than the window, and the test for the end.
      let ready = poller.wait(milliseconds: 10)
      for index in 0..<ready {
        let box = flows[Int(poller[index].token)]
        receive(&box.flow)
        // Published before more is sent: so at any time, at most the published answers plus the
        // window were sent.
        progress.publish(report)
        send(&box.flow)
      }
      if ready == 0 { for box in flows { send(&box.flow) } }
    }
    for box in flows { report.kernelDrops += box.flow.socket.kernelDrops }
    progress.publish(report)
    progress.end()
  }

  private var isSending: Bool { !progress.isFinishing && report.sent < limit }

  private var isDone: Bool {
    if isSending { return false }
    return report.lost == 0 || relay_clock() - lastAnswer > Self.silence
  }

  private func send(_ flow: inout TrafficFlow) {
    if !isSending { return }
    report.sent += flow.send(limit: limit - report.sent, using: batch.packets)
  }

  private func receive(_ flow: inout TrafficFlow) {
    let count = flow.socket.receive(into: batch.packets)
    // An error reports that an earlier request failed, for example because there is no server. That
    // request counts as lost.
    if count <= 0 { return }
    lastAnswer = relay_clock()
    for packet in batch.packets[..<count] {
      switch flow.check(packet) {
      case .right: report.answered += 1
      case .mismarked:
        report.answered += 1
        report.mismarked += 1
      case .corrupted: report.corrupted += 1
      case .duplicate: report.duplicates += 1
      }
    }
  }
}
