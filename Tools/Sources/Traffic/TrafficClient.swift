public import Relay
internal import Synchronization

/// Asks a server for answers as fast as it gives them, and checks every one to the last byte.
///
/// One thread and several sockets, so that a relay sees several flows. The number of requests in flight is
/// limited, so that nothing has to overflow: a lost datagram is somebody's fault.
public final class TrafficClient: Sendable {
  /// The most requests in flight, over all flows.
  public let window: Int

  private let progress: TrafficProgress
  private let setup: Mutex<TrafficLoop?>
  private let thread = Mutex<WorkerThread?>(nil)

  /// Opens the sockets; nothing is sent yet.
  ///
  /// - Parameters:
  ///   - target: Where the requests go to.
  ///   - flows: How many sockets.
  ///   - window: The most requests in flight over all flows; fewer when a receive buffer could not hold
  ///     them all.
  ///   - lengths: How long a request may be; at least 16 bytes. Each has a length of its own.
  ///   - limit: How many requests to send in all; without it, as many as go until ``finish()``.
  public init(
    target: SocketAddress, flows: Int = 16, window: Int = 256,
    lengths: ClosedRange<Int> = 16...1200, limit: Int? = nil
  ) throws(RelayError) {
    precondition(flows > 0 && window >= flows && lengths.lowerBound >= Payload.headerLength)
    progress = TrafficProgress()
    let probe = try Socket(like: target)
    let perFlow = max(1, min(window, Self.safeWindow(probe.receiveBuffer, lengths)) / flows)
    self.window = perFlow * flows
    setup = Mutex(
      try TrafficLoop(
        target: target, flows: flows, window: perFlow, lengths: lengths, limit: limit ?? .max,
        progress: progress))
  }

  deinit { _ = finish() }

  /// How many requests fit into one receive buffer, if all of them wait in the same one.
  ///
  /// The kernel charges a datagram for the memory that it occupies, which is less than twice its length and
  /// 1024 bytes. No more than half of what the loopback interface queues by default
  /// (net.core.netdev_max_backlog, 1000).
  private static func safeWindow(_ receiveBuffer: Int, _ lengths: ClosedRange<Int>) -> Int {
    min(500, receiveBuffer / (2 * lengths.upperBound + 1024))
  }

  /// Starts to send. Once.
  ///
  /// - Parameter niceness: By how much the thread leaves the processors to others, as in `nice(1)`.
  public func start(niceness: Int32 = 0) throws(RelayError) {
    guard let loop = setup.withLock({ $0.take() }) else {
      throw RelayError("traffic", 114, "was started before")
    }
    let started = try WorkerThread(named: "traffic", niceness: niceness, carrying: loop) { $0.run() }
    thread.withLock { $0 = started }
  }

  /// Sends no more, and blocks until every answer has come, or none for two seconds. The second call returns
  /// the same.
  public func finish() -> TrafficReport {
    progress.finish()
    return waitUntilFinished()
  }

  /// Blocks until `limit` requests have been sent, and every answer has come, or none for two seconds.
  public func waitUntilFinished() -> TrafficReport {
    thread.withLock { thread in thread.take()?.join() }
    return report
  }

  /// What the client has seen so far. Any thread.
  public var report: TrafficReport { progress.report }

  /// Blocks until `count` more answers have come; false when the client has ended before. One thread at a
  /// time.
  ///
  /// After one more than ``window``, at least one of the requests was sent after the call.
  public func waitForAnswers(_ count: Int) -> Bool { progress.waitForAnswers(count) }
}
