public import Relay
internal import Synchronization

/// Sends requests to a server as fast as it answers, and checks every byte of every answer.
///
/// One thread uses several sockets, so that a relay sees several flows. The number of requests in
/// flight is limited, so that no buffer overflows: a lost datagram means that the relay or the
/// server lost it.
public final class TrafficClient: Sendable {
  /// The largest number of requests in flight, over all flows.
  public let window: Int

  private let progress: TrafficProgress
  private let setup: Mutex<TrafficLoop?>
  private let thread = Mutex<WorkerThread?>(nil)

  /// Opens the sockets. Nothing is sent before ``start(niceness:)``.
  ///
  /// - Parameters:
  ///   - target: The destination of the requests.
  ///   - flows: The number of sockets.
  ///   - window: The largest number of requests in flight over all flows; reduced if a receive
  ///     buffer could not hold all of them.
  ///   - lengths: The lengths of requests, at least 16 bytes. Each request has a length of its own.
  ///   - marks: How many bytes have been appended to each answer on its way.
  ///   - limit: The total number of requests. Without it, the client sends until ``finish()``.
  public init(
    target: SocketAddress, flows: Int = 16, window: Int = 256,
    lengths: ClosedRange<Int> = 16...1200, marks: Int = 0, limit: Int? = nil
  ) throws(RelayError) {
    precondition(flows > 0 && window >= flows && lengths.lowerBound >= Payload.headerLength)
    progress = TrafficProgress()
    let probe = try Socket(like: target)
    let perFlow = max(1, min(window, Self.safeWindow(probe.receiveBuffer, lengths)) / flows)
    self.window = perFlow * flows
    setup = Mutex(
      try TrafficLoop(
        target: target, flows: flows, window: perFlow, lengths: lengths, marks: marks,
        limit: limit ?? .max, progress: progress))
  }

  deinit { _ = finish() }

  /// How many requests fit into one receive buffer, if all of them wait in the same one.
  ///
  /// The kernel charges a datagram for the memory that it occupies, which is less than twice its
  /// length plus 1024 bytes. At most half of the default queue of the loopback interface
  /// (net.core.netdev_max_backlog, 1000).
  private static func safeWindow(_ receiveBuffer: Int, _ lengths: ClosedRange<Int>) -> Int {
    min(500, receiveBuffer / (2 * lengths.upperBound + 1024))
  }

  /// Starts to send. Call this once.
  ///
  /// - Parameter niceness: Added to the thread's nice value, as in `nice(1)`.
  public func start(niceness: Int32 = 0) throws(RelayError) {
    guard let loop = setup.withLock({ $0.take() }) else {
      throw RelayError("traffic", 114, "was started before")
    }
    let started = try WorkerThread(named: "traffic", niceness: niceness, carrying: loop) { $0.run() }
    thread.withLock { $0 = started }
  }

  /// Stops sending, and blocks until every answer has arrived, or none for two seconds. A second
  /// call returns the same result.
  public func finish() -> TrafficReport {
    progress.finish()
    return waitUntilFinished()
  }

  /// Blocks until `limit` requests were sent, and every answer has arrived, or none for two
  /// seconds.
  public func waitUntilFinished() -> TrafficReport {
    thread.withLock { thread in thread.take()?.join() }
    return report
  }

  /// The results so far. Any thread.
  public var report: TrafficReport { progress.report }

  /// Blocks until `count` more answers have arrived. Returns false if the client ended before. One
  /// thread at a time.
  ///
  /// If `count` is larger than ``window``, at least one of the answered requests was sent after
  /// this call.
  public func waitForAnswers(_ count: Int) -> Bool { progress.waitForAnswers(count) }
}
