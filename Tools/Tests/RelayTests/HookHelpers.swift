import CRelay
import Quiescence
import Synchronization

/// Packets that a hook has stolen.
final class StolenPackets: Sendable {
  private struct Packet: @unchecked Sendable {
    // Unchecked: a stolen packet belongs to the thread that holds it.
    let pointer: UnsafeMutablePointer<quiesce_packet>
  }

  private let packets = Mutex<[Packet]>([])

  var count: Int { packets.withLock { $0.count } }

  func add(_ packet: inout quiesce_packet) {
    let packet = withUnsafeMutablePointer(to: &packet) { Packet(pointer: $0) }
    packets.withLock { $0.append(packet) }
  }

  func giveBack(_ how: (UnsafeMutablePointer<quiesce_packet>) -> Void) {
    let all = packets.withLock { packets in
      defer { packets = [] }
      return packets
    }
    for packet in all { how(packet.pointer) }
  }

  func giveBackOne(_ how: (UnsafeMutablePointer<quiesce_packet>) -> Void) {
    if let packet = packets.withLock({ $0.popLast() }) { how(packet.pointer) }
  }
}

/// Counts the callbacks that were attached to packets, and how often each has run.
final class Ledger: Sendable {
  private final class Entry: Sendable {
    let runs = Atomic(0)
    let ranOutside = Atomic(false)
  }

  private let entries: [Entry]
  private let used = Atomic(0)

  init(capacity: Int) {
    entries = (0..<capacity).map { _ in Entry() }
  }

  func attach(to packet: inout quiesce_packet) {
    let index = used.wrappingAdd(1, ordering: .relaxed).oldValue
    let error = packet.attach(
      &packet,
      { context in
        // The entry that is passed below; the ledger retains it.
        let entry = Unmanaged<Entry>.fromOpaque(context!).takeUnretainedValue()
        if !QSBR.isInside { entry.ranOutside.store(true, ordering: .relaxed) }
        entry.runs.wrappingAdd(1, ordering: .relaxed)
      }, Unmanaged.passUnretained(entries[index]).toOpaque())
    if error != 0 { used.wrappingSubtract(1, ordering: .relaxed) }
  }

  var attached: Int { used.load(ordering: .relaxed) }
  var finished: Int { entries.reduce(0) { $0 + $1.runs.load(ordering: .relaxed) } }
  var finishedTwice: Int { entries.count { $0.runs.load(ordering: .relaxed) > 1 } }
  var outsideOfSections: Int { entries.count { $0.ranOutside.load(ordering: .relaxed) } }
}
