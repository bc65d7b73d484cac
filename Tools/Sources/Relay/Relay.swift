public import CRelay
internal import Glibc
public import ModuleManager
public import Quiescence
internal import Synchronization

/// A UDP relay: what clients send to its address goes on to a server, and each client gets its answers back.
///
/// Every datagram, in either direction, passes the hook points ``prerouting``, ``forward`` and
/// ``postrouting``, in this order. Each worker thread is an online QSBR reader with its own socket and its
/// own flows; workers share nothing that they write. The relay itself loses no datagram: what a socket does
/// not take waits, and what waits for too long makes the relay stop reading.
public final class Relay: Sendable {
  /// Every datagram, as it came in.
  public let prerouting: HookPoint<quiesce_packet, QSBR>
  /// What `prerouting` let through.
  public let forward: HookPoint<quiesce_packet, QSBR>
  /// The last one, before the datagram goes out.
  public let postrouting: HookPoint<quiesce_packet, QSBR>
  /// Where the relay listens.
  public let boundAddress: SocketAddress

  private let handles: [WorkerHandle]
  private let threads = Mutex<Threads>(Threads())

  private struct Threads: ~Copyable {
    var running: [WorkerThread] = []
    var isStarted = false
  }

  /// Binds to `listen`; nothing is received yet.
  ///
  /// - Parameters:
  ///   - workers: How many threads; each opens a socket of its own on the same port.
  ///   - flowTimeout: How long a client's flow is kept after the last datagram in either direction.
  ///   - flowLimit: The most flows of one worker. Without it, the limit of descriptors decides.
  /// - Throws: `EADDRINUSE`, `EACCES` and other errors of the listening sockets; `EINVAL` for arguments that
  ///   make no sense.
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
      // The first one takes the port for itself before it shares it, so that a second relay on the same
      // address is refused and does not get half of the clients.
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
        // Here, so that a lack of memory or descriptors is the caller's to know.
        let worker = try Worker(handle)
        threads.running.append(
          try WorkerThread(named: "relay-\(index)", carrying: worker) { $0.run() })
      }
    }
  }

  /// Ends the workers, and blocks until they have ended. Datagrams that wait to be sent are dropped. What
  /// modules stole may come back later; its callbacks run then. The address stays taken as long as the relay.
  ///
  /// Any thread but a worker's; the second call does nothing.
  public func stop() {
    precondition(!QSBR.isInside, "Relay.stop() inside a QSBR section: it would wait for itself")
    threads.withLock { threads in
      for handle in handles { handle.stop() }
      for thread in threads.running { thread.join() }
      threads.running = []
    }
  }

  /// What the relay has done so far. Any thread; O(workers).
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

  /// A share of the descriptors that the process may have, with some left for everything else.
  private static func flowLimit(workers: Int) -> Int {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let descriptors = Int(clamping: limit.rlim_cur)
    return max(1, (descriptors - min(descriptors / 2, 256)) / workers)
  }
}
