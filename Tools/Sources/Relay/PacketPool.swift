package import CRelay

package typealias PacketPointer = UnsafeMutablePointer<relay_packet>

/// A worker's idle packets. Packets in use are in the worker's batch, in an outbox, or with the
/// module that stole them.
struct PacketPool: ~Copyable {
  private var free: [PacketPointer] = []
  private let inbox: OpaquePointer

  /// Idle packets beyond this number are freed.
  private static let mostAtRest = 512

  init(inbox: OpaquePointer) {
    self.inbox = inbox
  }

  deinit {
    for packet in free { relay_packet_free(packet) }
  }

  /// A packet to receive into. Nil if there is no memory.
  mutating func take() -> PacketPointer? {
    free.popLast() ?? relay_packet_create(inbox)
  }

  /// Ends the use of a packet: runs its callbacks, and keeps its buffer for another datagram.
  ///
  /// The calling thread is an online reader. The callbacks are a module's code: after the last
  /// callback has released the module, its code may be unmapped as soon as every reader has passed
  /// a quiescent state.
  mutating func finish(_ packet: PacketPointer) {
    relay_packet_finish(packet)
    put(packet)
  }

  /// Takes back a packet that was not used.
  mutating func put(_ packet: PacketPointer) {
    if free.count == Self.mostAtRest {
      relay_packet_free(packet)
    } else {
      relay_packet_reset(packet)
      free.append(packet)
    }
  }
}
