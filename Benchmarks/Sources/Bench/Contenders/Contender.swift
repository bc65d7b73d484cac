import CPeers

/// A way to read what others replace: what the reading experiments compare.
struct Contender: Sendable {
  let name: String
  /// Its readers may sleep, so that it is measured on the clock on the wall.
  var blocks = false
  /// What one read adds to the sum.
  var number = publishedNumber
  /// Around all that a thread does with it.
  var begin: @Sendable () -> Void = {}
  var end: @Sendable () -> Void = {}
  /// Around a time in which the thread reads nothing.
  var rest: @Sendable () -> Void = {}
  var wake: @Sendable () -> Void = {}
  /// Reads so often, and returns the sum of what it has read.
  let read: @Sendable (_ place: Int32, _ count: UInt64) -> UInt64
  /// The same with longer sections.
  var work: (@Sendable (_ length: UInt64, _ count: UInt64) -> UInt64)?
  /// Publishes the same number anew.
  var update: (@Sendable () -> Void)?
  var synchronize: (@Sendable () -> Void)?
  /// Waits until everything old is freed.
  var drain: @Sendable () -> Void = {}
}

/// What everyone publishes. The compiler must not know it: it would put the number where the load should be, and the
/// sum would be right all the same.
let publishedNumber = peer_opaque(3)

extension Contender {
  /// Nil when it is not installed.
  init?(_ peer: peer) {
    guard let make = peer.make, let read = peer.read else { return nil }
    let cell = Cell(pointer: make(publishedNumber))
    self.init(name: String(cString: peer.name), read: { read(cell.pointer, $0, $1) })
    blocks = peer.blocks
    if let call = peer.begin { begin = { call(cell.pointer) } }
    if let call = peer.end { end = { call(cell.pointer) } }
    if let call = peer.rest { rest = { call(cell.pointer) } }
    if let call = peer.wake { wake = { call(cell.pointer) } }
    if let call = peer.work { work = { call(cell.pointer, $0, $1) } }
    if let call = peer.update { update = { call(cell.pointer, publishedNumber) } }
    if let call = peer.synchronize { synchronize = { call(cell.pointer) } }
    if let call = peer.drain { drain = { call(cell.pointer) } }
  }

  /// A peer's published item. Never freed: a contender lives as long as the program.
  private struct Cell: @unchecked Sendable {
    // Unchecked: the peer is made to be called from any thread.
    let pointer: UnsafeMutableRawPointer?
  }

  /// All in C and C++ that are installed. The order is that of the tables.
  static func peers() -> [Contender] { peersOfAllSorts.compactMap { Contender($0) } }

  /// Why some take no part.
  static var missingPeers: [String] {
    peersOfAllSorts.compactMap { peer in
      peer.missing.map { "\(String(cString: peer.name)): \(String(cString: $0))" }
    }
  }

  private static var peersOfAllSorts: [peer] {
    [
      peer_plain, peer_qsbr, peer_memb, peer_memb_called, peer_bp, peer_bp_called, peer_mb, peer_mb_called,
      peer_rte_qsbr, peer_ck_epoch, peer_ck_brlock, peer_rwlock, peer_mutex, peer_shared_mutex,
      peer_atomic_shared_ptr,
    ]
  }

  /// A loop that is compiled at each of `PEER_PLACES`, as `PEER_LOOPS` in C.
  @inline(__always)
  static func sum(at place: Int32, _ count: UInt64, _ read: () -> UInt64) -> UInt64 {
    var sum: UInt64 = 0
    switch place {
    case 0:
      peer_place_0()
      for _ in 0..<count { sum &+= read() }
    case 1:
      peer_place_16()
      for _ in 0..<count { sum &+= read() }
    case 2:
      peer_place_32()
      for _ in 0..<count { sum &+= read() }
    default:
      peer_place_48()
      for _ in 0..<count { sum &+= read() }
    }
    return sum
  }

  /// A loop that is compiled once.
  @inline(__always)
  static func sum(_ count: UInt64, _ read: () -> UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= read() }
    return sum
  }
}
