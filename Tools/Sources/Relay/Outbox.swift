internal import CRelay
internal import Glibc

/// Packets to send on one socket, in order. A busy socket does not cause drops.
struct Outbox: ~Copyable {
  private var packets: [PacketPointer] = []
  private var first = 0
  /// Whether the socket's buffer is full. An event reports when it is writable again.
  private(set) var isBlocked = false

  /// How many times in a row a packet may fail with an error that belongs to an earlier one.
  private static let mostRefusals = 8

  var count: Int { packets.count - first }

  mutating func append(_ packet: PacketPointer) { packets.append(packet) }

  /// Sends until the outbox is empty or the socket's buffer is full, and finishes the packets that
  /// were sent.
  mutating func flush(
    to socket: borrowing Socket, addressed: Bool, pool: inout PacketPool,
    counters: borrowing Counters
  ) {
    isBlocked = false
    var refusals = 0
    while first < packets.count {
      let sent = socket.send(packets, in: first..<packets.count, addressed: addressed)
      if sent > 0 {
        counters.add(sent, to: .sent)
        refusals = 0
        for _ in 0..<sent { pool.finish(next()) }
      } else if sent == -Int(EAGAIN) {
        isBlocked = true
        return compact()
      } else {
        counters.add(1, to: .errors)
        refusals += 1
        // A connected socket reports the refusal of an earlier datagram at the next call; this
        // packet was not sent yet.
        if sent == -Int(ECONNREFUSED), refusals < Self.mostRefusals { continue }
        counters.add(1, to: .dropped)
        refusals = 0
        pool.finish(next())
      }
    }
    compact()
  }

  /// Finishes every packet without sending it.
  mutating func drop(pool: inout PacketPool, counters: borrowing Counters) {
    counters.add(count, to: .dropped)
    while first < packets.count { pool.finish(next()) }
    compact()
  }

  private mutating func next() -> PacketPointer {
    defer { first += 1 }
    return packets[first]
  }

  private mutating func compact() {
    if first == packets.count {
      packets.removeAll(keepingCapacity: true)
      first = 0
    } else if first > 1024 {
      packets.removeFirst(first)
      first = 0
    }
  }
}
