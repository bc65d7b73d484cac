package import CRelay
internal import Glibc

/// A nonblocking UDP socket, closed with its owner.
package struct Socket: ~Copyable, Sendable {
  package let descriptor: Int32

  package init(like address: SocketAddress) throws(RelayError) {
    descriptor = relay_socket(Int32(address.raw.family))
    if descriptor < 0 { throw RelayError("\(address)", -descriptor, "cannot open a socket") }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Lets other sockets of the same user bind to the same port, if they share it too. The kernel
  /// then assigns each flow to one of the sockets.
  package func sharePort() throws(RelayError) {
    let error = relay_share_port(descriptor)
    if error != 0 { throw RelayError("socket", -error, "cannot share a port") }
  }

  package func bind(to address: SocketAddress) throws(RelayError) {
    if address.isEveryAddress {
      try check(
        relay_want_local_address(descriptor, Int32(address.raw.family)), address,
        "cannot ask for local addresses")
    }
    try check(relay_bind(descriptor, address.raw), address, "cannot listen")
  }

  package func connect(to address: SocketAddress) throws(RelayError) {
    try check(relay_connect(descriptor, address.raw), address, "cannot connect")
  }

  package func boundAddress() throws(RelayError) -> SocketAddress {
    var raw = relay_address()
    let error = relay_bound_address(descriptor, &raw)
    if error != 0 { throw RelayError("socket", -error, "no local address") }
    return SocketAddress(raw)
  }

  /// The size of the receive buffer as the kernel counts it, which is more than the payloads.
  package var receiveBuffer: Int { Int(relay_receive_buffer(descriptor)) }

  /// The number of datagrams that did not fit into the receive buffer.
  package var kernelDrops: Int { Int(relay_kernel_drops(descriptor)) }

  package func clearError() { relay_clear_error(descriptor) }

  /// Receives into `packets`. Returns the number, or a negative errno.
  package func receive(into packets: borrowing [UnsafeMutablePointer<relay_packet>]) -> Int {
    packets.withUnsafeBufferPointer { packets in
      Int(relay_receive(descriptor, Self.cast(packets.baseAddress), UInt32(packets.count)))
    }
  }

  /// Sends a part of `packets`, to their destinations or to the peer. Returns the number, or a
  /// negative errno.
  package func send(
    _ packets: borrowing [UnsafeMutablePointer<relay_packet>], in range: Range<Int>, addressed: Bool
  ) -> Int {
    packets.withUnsafeBufferPointer { packets in
      let part = UnsafeBufferPointer(rebasing: packets[range])
      return Int(
        relay_send(descriptor, Self.cast(part.baseAddress), UInt32(part.count), addressed))
    }
  }

  /// Converts an array of nonoptional pointers to C's array of pointers that may be null; the
  /// layout is the same.
  private static func cast(
    _ packets: UnsafePointer<UnsafeMutablePointer<relay_packet>>?
  ) -> UnsafePointer<UnsafeMutablePointer<relay_packet>?>? {
    UnsafeRawPointer(packets)?.assumingMemoryBound(to: UnsafeMutablePointer<relay_packet>?.self)
  }

  private func check(_ result: Int32, _ address: SocketAddress, _ reason: String) throws(RelayError) {
    if result < 0 { throw RelayError("\(address)", -result, reason) }
  }
}
