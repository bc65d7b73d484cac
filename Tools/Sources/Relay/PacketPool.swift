package import CRelay

package typealias PacketPointer = UnsafeMutablePointer<relay_packet>

/// A worker's packets that carry nothing now. Those that are on their way are in the worker's batch, in an
/// outbox, or with the module that stole them.
struct PacketPool: ~Copyable {
  private var free: [PacketPointer] = []
  private let inbox: OpaquePointer

  /// More than this many at rest are given back to the system.
  private static let mostAtRest = 512

  init(inbox: OpaquePointer) {
    self.inbox = inbox
  }

  deinit {
    for packet in free { relay_packet_free(packet) }
  }

  /// A packet to receive into; nil without memory.
  mutating func take() -> PacketPointer? {
    free.popLast() ?? relay_packet_create(inbox)
  }

  /// Ends a packet's way: runs its callbacks, and keeps its buffer for another one.
  ///
  /// The calling thread is an online reader: the callbacks are a module's code, and it may be unmapped once
  /// every reader has gone through a quiescent state after the last callback let go of the module.
  mutating func finish(_ packet: PacketPointer) {
    relay_packet_finish(packet)
    put(packet)
  }

  /// Takes back a packet that carried nothing.
  mutating func put(_ packet: PacketPointer) {
    if free.count == Self.mostAtRest {
      relay_packet_free(packet)
    } else {
      relay_packet_reset(packet)
      free.append(packet)
    }
  }
}
