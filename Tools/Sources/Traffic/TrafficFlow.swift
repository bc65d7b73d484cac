internal import CRelay
internal import Glibc
internal import Relay

/// One socket of a client, with its requests in flight.
struct TrafficFlow: ~Copyable {
  let socket: Socket
  private let index: UInt64
  private let lengths: ClosedRange<Int>
  private let marks: Int
  /// The sequence number of the request in each slot; 0 if the slot is free, because numbers start
  /// at 1.
  private var slots: [UInt64]
  private var free: [Int]
  private var counter: UInt64 = 0

  init(on socket: consuming Socket, index: Int, window: Int, lengths: ClosedRange<Int>, marks: Int) {
    self.socket = socket
    self.index = UInt64(index)
    self.lengths = lengths
    self.marks = marks
    slots = Array(repeating: 0, count: window)
    free = Array((0..<window).reversed())
  }

  var inFlight: Int { slots.count - free.count }

  /// Sends at most `limit` requests, as long as the window and the socket's buffer have room.
  /// Returns the number.
  mutating func send(limit: Int, using packets: borrowing [PacketPointer]) -> Int {
    var total = 0
    while !free.isEmpty && total < limit {
      let batch = min(free.count, packets.count, limit - total)
      for packet in packets[..<batch] { prepare(packet) }
      let sent = max(0, socket.send(packets, in: 0..<batch, addressed: false))
      for packet in packets[sent..<batch].reversed() { takeBack(packet) }
      total += sent
      if sent < batch { break }
    }
    return total
  }

  enum Answer { case right, mismarked, corrupted, duplicate }

  mutating func check(_ packet: PacketPointer) -> Answer {
    let length = Int(packet.pointee.packet.length)
    // Without marks, whatever follows the payload is damage.
    let end = marks == 0 ? length : min(length, Payload.length(in: packet.pointee.buffer, of: length))
    guard !packet.pointee.truncated,
      let header = Payload.check(packet.pointee.buffer, length: end),
      header.sequence >> 48 == index, header.slot < slots.count,
      header.sequence & 0xffff_ffff_ffff <= counter,
      header.length == Payload.length(of: header.sequence, in: lengths)
    else { return .corrupted }
    let slot = Int(header.slot)
    // A slot is reused only after its request was answered, so an answer with an older number is a
    // duplicate.
    if slots[slot] != header.sequence { return .duplicate }
    slots[slot] = 0
    free.append(slot)
    return length - end == marks ? .right : .mismarked
  }

  private mutating func prepare(_ packet: PacketPointer) {
    counter += 1
    let sequence = index << 48 | counter
    // Not empty: `send` prepares at most as many requests as there are free slots.
    let slot = free.removeLast()
    slots[slot] = sequence
    let header = Payload.Header(
      sequence: sequence, slot: UInt32(slot), length: Payload.length(of: sequence, in: lengths))
    Payload.write(header, to: packet.pointee.buffer)
    packet.pointee.packet.length = header.length
  }

  /// Undoes `prepare` for the newest request, which was not sent.
  private mutating func takeBack(_ packet: PacketPointer) {
    guard let header = Payload.check(packet.pointee.buffer, length: Int(packet.pointee.packet.length))
    else { return }
    slots[Int(header.slot)] = 0
    free.append(Int(header.slot))
    counter -= 1
  }
}
