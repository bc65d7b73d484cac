import CRelay
import Foundation
import Relay
import Testing
import Traffic

/// A relay in front of an echo server.
final class RelayFixture: Sendable {
  let relay: Relay
  let server: EchoServer

  init(
    listen: String = "127.0.0.1:0", server: String = "127.0.0.1:0", workers: Int = 2,
    flowTimeout: Duration = .seconds(60), flowLimit: Int? = nil
  ) throws {
    self.server = try EchoServer(address: SocketAddress(parsing: server))
    relay = try Relay(
      listen: SocketAddress(parsing: listen), forward: self.server.address, workers: workers,
      flowTimeout: flowTimeout, flowLimit: flowLimit)
    try self.server.start()
    try relay.start()
  }

  deinit {
    relay.stop()
    server.stop()
  }

  func client(from address: String? = nil, to target: SocketAddress? = nil) throws -> TestClient {
    try TestClient(target: target ?? relay.boundAddress, from: address)
  }
}

/// A socket that sends a datagram and waits for the answer.
struct TestClient: ~Copyable {
  private let socket: Socket
  private let packet: PacketPointer

  init(target: SocketAddress, from address: String? = nil) throws {
    let socket = try Socket(like: target)
    if let address { try socket.bind(to: SocketAddress(parsing: address)) }
    try socket.connect(to: target)
    packet = try #require(relay_packet_create(nil))
    self.socket = socket
  }

  deinit { relay_packet_free(packet) }

  func send(_ bytes: [UInt8]) throws {
    packet.pointee.buffer.update(from: bytes, count: bytes.count)
    packet.pointee.packet.length = UInt32(bytes.count)
    try #require(socket.send([packet], in: 0..<1, addressed: false) == 1)
  }

  /// The next datagram. The time limit only keeps a failing test from hanging.
  func receive(sourceLocation: SourceLocation = #_sourceLocation) throws -> [UInt8] {
    var descriptor = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
    try #require(
      poll(&descriptor, 1, 20_000) == 1, "no answer came", sourceLocation: sourceLocation)
    try #require(socket.receive(into: [packet]) == 1)
    return Array(UnsafeBufferPointer(start: packet.pointee.buffer, count: Int(packet.pointee.packet.length)))
  }

  func ask(
    _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [UInt8] {
    try send(bytes)
    return try receive(sourceLocation: sourceLocation)
  }
}

/// Runs `body` on a thread of its own: blocking calls must not block the cooperative pool.
func onOwnThread<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Swift.Result(catching: body)) }.start()
  }
}

/// Waits until another thread makes the condition true. The time limit only keeps a failing test
/// from hanging.
func waitUntil(_ what: Comment, _ condition: () -> Bool) throws {
  for _ in 0..<20_000 {
    if condition() { return }
    usleep(1000)
  }
  Issue.record(what)
  throw CancellationError()
}
