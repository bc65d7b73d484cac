import CPeers

/// A way to read a value that other threads replace. The reading experiments compare contenders.
struct Contender: Sendable {
  let name: String
  /// Whether its readers may sleep; then it is measured in wall-clock time.
  var blocks = false
  /// Whether an update spins for a grace period.
  var updateSpins = false
  /// What one read adds to the sum.
  var number = publishedNumber
  /// Called before and after everything that a thread does with the contender.
  var begin: @Sendable () -> Void = {}
  var end: @Sendable () -> Void = {}
  /// Called before and after a time in which the thread does not read.
  var rest: @Sendable () -> Void = {}
  var wake: @Sendable () -> Void = {}
  /// Reads `count` times, and returns the sum of the numbers.
  let read: @Sendable (_ place: Int32, _ count: UInt64) -> UInt64
  /// The same, with longer sections.
  var work: (@Sendable (_ length: UInt64, _ count: UInt64) -> UInt64)?
  /// Publishes the same number again, in a new object.
  var update: (@Sendable () -> Void)?
  var synchronize: (@Sendable () -> Void)?
  /// Waits until every old object was freed.
  var drain: @Sendable () -> Void = {}
}

/// The number that every contender publishes. The compiler must not know it: it would replace the
/// load by the number, and the sum would still be correct.
let publishedNumber = peer_opaque(3)

extension Contender {
  /// Nil if the peer is not installed.
  init?(_ peer: peer) {
    guard let make = peer.make, let read = peer.read else { return nil }
    let cell = Cell(pointer: make(publishedNumber))
    self.init(name: String(cString: peer.name), read: { read(cell.pointer, $0, $1) })
    blocks = peer.blocks
    updateSpins = peer.update_spins
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
    // Unchecked: peers may be called from any thread.
    let pointer: UnsafeMutableRawPointer?
  }

  /// All installed peers in C and C++, in the order of the tables.
  static func peers() -> [Contender] { peersOfAllSorts.compactMap { Contender($0) } }

  /// Why some peers are missing.
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

  /// A loop that is compiled once for each of `PEER_PLACES`, like `PEER_LOOPS` in C.
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
