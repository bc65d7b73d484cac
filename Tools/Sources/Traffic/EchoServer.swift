internal import CRelay
internal import Glibc
public import Relay
internal import Synchronization

/// Returns every datagram to its sender, on a thread of its own.
public final class EchoServer: Sendable {
  /// The address at which it listens.
  public let address: SocketAddress

  private let endpoint: Endpoint
  private let thread = Mutex<WorkerThread?>(nil)

  /// Binds to any free port of the loopback interface.
  public convenience init() throws(RelayError) {
    try self.init(address: SocketAddress(parsing: "127.0.0.1:0"))
  }

  /// Binds to `address`.
  public init(address: SocketAddress) throws(RelayError) {
    let socket = try Socket(like: address)
    try socket.bind(to: address)
    self.address = try socket.boundAddress()
    endpoint = Endpoint(socket: socket, bell: try Doorbell())
  }

  deinit { stop() }

  /// Datagrams that did not fit into the receive buffer.
  public var kernelDrops: Int { endpoint.socket.kernelDrops }

  /// Starts the thread. Call this once.
  ///
  /// - Parameter niceness: Added to the thread's nice value, as in `nice(1)`.
  public func start(niceness: Int32 = 0) throws(RelayError) {
    let echo = try Echo(endpoint)
    let started = try WorkerThread(named: "echo", niceness: niceness, carrying: echo) { $0.run() }
    thread.withLock { $0 = started }
  }

  /// Stops, and blocks until the thread has ended. Requests that wait are not answered. A second
  /// call has no effect.
  public func stop() {
    endpoint.bell.ring()
    thread.withLock { thread in thread.take()?.join() }
  }
}

/// The state that the server and its thread share.
private final class Endpoint: Sendable {
  let socket: Socket
  let bell: Doorbell

  init(socket: consuming Socket, bell: consuming Doorbell) {
    self.socket = socket
    self.bell = bell
  }
}

/// The state that the thread owns.
private struct Echo: ~Copyable {
  private let endpoint: Endpoint
  private let poller: Poller
  private let batch: PacketBatch

  init(_ endpoint: Endpoint) throws(RelayError) {
    let batch = try PacketBatch()
    let poller = try Poller()
    try poller.add(endpoint.bell.descriptor, token: 1, for: "echo server")
    try poller.add(endpoint.socket.descriptor, token: 0, for: "echo server")
    self.endpoint = endpoint
    self.batch = batch
    self.poller = poller
  }

  func run() {
    while wait() {
      let count = endpoint.socket.receive(into: batch.packets)
      if count > 0 && !answer(count) { return }
    }
  }

  /// Returns false if the server must stop.
  private func wait() -> Bool {
    let ready = poller.wait(milliseconds: -1)
    return !(0..<ready).contains { poller[$0].token == 1 }
  }

  private func answer(_ count: Int) -> Bool {
    for packet in batch.packets[..<count] {
      packet.pointee.packet.destination = packet.pointee.packet.source
      packet.pointee.packet.destination_length = packet.pointee.packet.source_length
    }
    var first = 0
    while first < count {
      let sent = endpoint.socket.send(batch.packets, in: first..<count, addressed: true)
      if sent == -Int(EAGAIN) {
        watch(writable: true)
        if !wait() { return false }
        watch(writable: false)
      } else {
        // Skips an answer that cannot be sent at all.
        first += max(1, sent)
      }
    }
    return true
  }

  private func watch(writable: Bool) {
    poller.watch(endpoint.socket.descriptor, token: 0, readable: !writable, writable: writable)
  }
}
