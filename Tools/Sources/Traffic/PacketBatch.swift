internal import CRelay
internal import Glibc
internal import Relay

/// A thread's own packets, to send and receive with.
struct PacketBatch: ~Copyable {
  let packets: [PacketPointer]

  init() throws(RelayError) {
    packets = (0..<Int(RELAY_BATCH)).compactMap { _ in relay_packet_create(nil) }
    if packets.count < Int(RELAY_BATCH) {
      for packet in packets { relay_packet_free(packet) }
      throw RelayError("traffic", ENOMEM, "no memory for packets")
    }
  }

  deinit { for packet in packets { relay_packet_free(packet) } }
}
