internal import CRelay
internal import Relay

/// What a client's thread owns.
final class TrafficLoop {
  private var flows: [FlowBox] = []
  private let poller: Poller
  private let batch: PacketBatch
  private let progress: TrafficProgress
  private let limit: Int
  private var report = TrafficReport()
  private var lastAnswer: UInt64 = 0

  /// Without an answer for so long after the last request, what is missing is lost.
  private static let silence: UInt64 = 2_000_000_000

  /// An array cannot hold noncopyable values.
  private final class FlowBox {
    var flow: TrafficFlow

    init(_ flow: consuming TrafficFlow) {
      self.flow = flow
    }
  }

  init(
    target: SocketAddress, flows count: Int, window: Int, lengths: ClosedRange<Int>, limit: Int,
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
        FlowBox(TrafficFlow(on: socket, index: index, window: window, lengths: lengths)))
    }
  }

  func run() {
    lastAnswer = relay_clock()
    for box in flows { send(&box.flow) }
    while !isDone {
      // The time-out is for a socket that took less than the window, and for the end.
      let ready = poller.wait(milliseconds: 10)
      for index in 0..<ready {
        let box = flows[Int(poller[index].token)]
        receive(&box.flow)
        // Before more is sent: at no time have more requests been sent than the answers that everybody can
        // see, and the window.
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
    // Errors are the network's answer to an earlier request, such as a server that is not there: that request
    // counts as lost.
    if count <= 0 { return }
    lastAnswer = relay_clock()
    for packet in batch.packets[..<count] {
      switch flow.check(packet) {
      case .right: report.answered += 1
      case .corrupted: report.corrupted += 1
      case .duplicate: report.duplicates += 1
      }
    }
  }
}
