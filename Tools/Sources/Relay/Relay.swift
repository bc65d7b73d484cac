public import CRelay
internal import Glibc
public import ModuleManager
public import Quiescence
internal import Synchronization

/// A UDP relay. It forwards datagrams of clients to a server, and returns the server's answers to
/// each client.
///
/// Every datagram, in either direction, passes the hook points ``prerouting``, ``forward`` and
/// ``postrouting``, in this order. Each worker thread is an online QSBR reader with its own socket
/// and flows; workers share no data that they write. The relay itself loses no datagram: packets
/// wait while a socket's buffer is full, and when too many wait, the relay stops reading.
public final class Relay: Sendable {
  /// Passed by every datagram on arrival.
  public let prerouting: HookPoint<quiesce_packet, QSBR>
  /// Passed by the datagrams that `prerouting` accepted.
  public let forward: HookPoint<quiesce_packet, QSBR>
  /// The last hook point before the datagram is sent.
  public let postrouting: HookPoint<quiesce_packet, QSBR>
  /// The address at which the relay listens.
  public let boundAddress: SocketAddress

  private let handles: [WorkerHandle]
  private let threads = Mutex<Threads>(Threads())

  private struct Threads: ~Copyable {
    var running: [WorkerThread] = []
    var isStarted = false
  }

  /// Binds to `listen`. Nothing is received before ``start()``.
  ///
  /// - Parameters:
  ///   - workers: The number of threads; each opens a socket of its own on the same port.
  ///   - flowTimeout: How long a flow is kept after its last datagram in either direction.
  ///   - flowLimit: The largest number of flows of one worker. By default it follows from the
  ///     process's limit of descriptors.
  /// - Throws: `EADDRINUSE`, `EACCES` and other errors of the listening sockets; `EINVAL` for
  ///   invalid arguments.
  public init(
    listen: SocketAddress, forward: SocketAddress, workers: Int,
    flowTimeout: Duration = .seconds(60), flowLimit: Int? = nil
  ) throws(RelayError) {
    if workers < 1 || workers > 1024 {
      throw RelayError("\(workers) workers", EINVAL, "there must be 1 to 1024")
    }
    if forward.port == 0 || forward.isEveryAddress {
      throw RelayError("\(forward)", EINVAL, "not an address to forward to")
    }
    prerouting = HookPoint("prerouting", argumentType: QUIESCE_PACKET_TYPE, flavor: QSBR.self)
    self.forward = HookPoint("forward", argumentType: QUIESCE_PACKET_TYPE, flavor: QSBR.self)
    postrouting = HookPoint("postrouting", argumentType: QUIESCE_PACKET_TYPE, flavor: QSBR.self)
    let configuration = WorkerConfiguration(
      forward: forward, points: [prerouting, self.forward, postrouting],
      flowTimeout: Self.nanoseconds(flowTimeout),
      flowLimit: flowLimit ?? Self.flowLimit(workers: workers))
    var address = listen
    var handles: [WorkerHandle] = []
    for _ in 0..<workers {
      let socket = try Socket(like: address)
      // The first socket binds before it shares the port. So a second relay at the same address is
      // refused, instead of getting half of the clients.
      if !handles.isEmpty { try socket.sharePort() }
      try socket.bind(to: address)
      if handles.isEmpty { try socket.sharePort() }
      address = try socket.boundAddress()
      handles.append(try WorkerHandle(listener: socket, configuration: configuration))
    }
    if address == forward { throw RelayError("\(forward)", EINVAL, "forwards to itself") }
    boundAddress = address
    self.handles = handles
  }

  deinit { stop() }

  /// Starts the workers. A relay starts once.
  public func start() throws(RelayError) {
    try threads.withLock { threads throws(RelayError) in
      if threads.isStarted { throw RelayError("\(boundAddress)", EALREADY, "was started before") }
      threads.isStarted = true
      for (index, handle) in handles.enumerated() {
        // Created here, so that a lack of memory or descriptors is reported to the caller.
        let worker = try Worker(handle)
        threads.running.append(
          try WorkerThread(named: "relay-\(index)", carrying: worker) { $0.run() })
      }
    }
  }

  /// Ends the workers, and blocks until they have ended. Datagrams that wait to be sent are
  /// dropped. Modules may return stolen packets later; their callbacks run then. The port stays
  /// bound as long as the relay exists.
  ///
  /// Any thread except a worker's. A second call has no effect.
  public func stop() {
    precondition(!QSBR.isInside, "Relay.stop() inside a QSBR section: it would wait for itself")
    threads.withLock { threads in
      for handle in handles { handle.stop() }
      for thread in threads.running { thread.join() }
      threads.running = []
    }
  }

  /// The statistics so far. Any thread; O(workers).
  public var statistics: RelayStatistics {
    var sum = RelayStatistics()
    for handle in handles { handle.counters.add(to: &sum) }
    return sum
  }

  private static func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    let whole = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000)
    return whole.overflow ? .max / 2 : whole.partialValue + UInt64(clamping: attoseconds / 1_000_000_000)
  }

  /// Each worker's share of the process's descriptors; some are left for other purposes.
  private static func flowLimit(workers: Int) -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let descriptors = Int(clamping: limit.rlim_cur)
    return max(1, (descriptors - min(descriptors / 2, 256)) / workers)
  }
}
