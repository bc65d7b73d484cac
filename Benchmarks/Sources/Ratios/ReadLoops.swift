import CPeers
import Quiescence
import Synchronization

/// What the Swift readers read: the same as `peer_item`.
struct Item: Sendable {
  let number: UInt64
  let owner: Owner?
}

final class Owner: Sendable {}

/// The loops of the Swift side. The same loop as `PEER_READ_LOOP`, each a function of its own.
final class ReadLoops: Sendable {
  private let memb: RCUBox<Item, Memb>
  private let mb: RCUBox<Item, MB>
  private let bulletproof: RCUBox<Item, Bulletproof>
  private let qsbr: RCUBox<Item, QSBR>
  // Unsafe: nobody writes what it points to.
  private nonisolated(unsafe) let plain: Atomic<UnsafeMutablePointer<Item>?>

  init(_ number: UInt64) {
    let item = Item(number: number, owner: Owner())
    memb = RCUBox(item)
    mb = RCUBox(item, flavor: MB.self)
    bulletproof = RCUBox(item, flavor: Bulletproof.self)
    qsbr = RCUBox(item, flavor: QSBR.self)
    let pointer = UnsafeMutablePointer<Item>.allocate(capacity: 1)
    pointer.initialize(to: item)
    plain = Atomic(pointer)
  }

  /// As `peer_floor`.
  @inline(never)
  func floor(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= peer_opaque(1) }
    return sum
  }

  @inline(never)
  func readPlain(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= plain.load(ordering: .acquiring).unsafelyUnwrapped.pointee.number }
    return sum
  }

  @inline(never)
  func readMemb(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= memb.read { $0.number } }
    return sum
  }

  @inline(never)
  func loadMemb(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= Memb.read { section in memb.load(section).value.number } }
    return sum
  }

  @inline(never)
  func readMB(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= mb.read { $0.number } }
    return sum
  }

  @inline(never)
  func readBulletproof(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count { sum &+= bulletproof.read { $0.number } }
    return sum
  }

  @inline(never)
  func loadQSBR(_ count: UInt64) -> UInt64 {
    QSBR.withOnlineReader { reader in
      var sum: UInt64 = 0
      for _ in 0..<count { sum &+= qsbr.load(reader).value.number }
      return sum
    }
  }

  @inline(never)
  func readQSBR(_ count: UInt64) -> UInt64 {
    QSBR.withOnlineReader { _ in
      var sum: UInt64 = 0
      for _ in 0..<count { sum &+= qsbr.read { $0.number } }
      return sum
    }
  }

  /// Takes an object out of each section: what no read may cost.
  @inline(never)
  func retainOnPurpose(_ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    for _ in 0..<count {
      let owner = memb.read { $0.owner }
      sum &+= owner === self ? 0 : memb.read { $0.number }
    }
    return sum
  }
}
