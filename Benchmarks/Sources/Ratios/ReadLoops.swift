import CPeers
import Quiescence
import Synchronization

/// What the Swift readers read: the same as `peer_item`.
struct Item: Sendable {
  let number: UInt64
  let owner: Owner?
}

final class Owner: Sendable {}

/// Where a loop lies: see `peer_place.h`. One copy of each loop is compiled for each.
protocol Place {
  static func begin()
}

enum Place0: Place {
  @inline(__always) static func begin() { peer_place_0() }
}
enum Place16: Place {
  @inline(__always) static func begin() { peer_place_16() }
}
enum Place32: Place {
  @inline(__always) static func begin() { peer_place_32() }
}
enum Place48: Place {
  @inline(__always) static func begin() { peer_place_48() }
}

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

  enum Loop {
    case floor, plain, readMemb, loadMemb, readMB, readBulletproof, loadQSBR, readQSBR, retainOnPurpose
  }

  /// Runs the copy of the loop that lies at that one of `PEER_PLACES`.
  func run(_ loop: Loop, at place: Int32, _ count: UInt64) -> UInt64 {
    switch place {
    case 0: run(loop, at: Place0.self, count)
    case 1: run(loop, at: Place16.self, count)
    case 2: run(loop, at: Place32.self, count)
    default: run(loop, at: Place48.self, count)
    }
  }

  @inline(__always)
  private func run<P: Place>(_ loop: Loop, at place: P.Type, _ count: UInt64) -> UInt64 {
    switch loop {
    case .floor: floor(at: place, count)
    case .plain: readPlain(at: place, count)
    case .readMemb: readMemb(at: place, count)
    case .loadMemb: loadMemb(at: place, count)
    case .readMB: readMB(at: place, count)
    case .readBulletproof: readBulletproof(at: place, count)
    case .loadQSBR: loadQSBR(at: place, count)
    case .readQSBR: readQSBR(at: place, count)
    case .retainOnPurpose: retainOnPurpose(at: place, count)
    }
  }

  /// As `peer_floor`.
  @inline(never)
  private func floor<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= peer_opaque(1) }
    return sum
  }

  @inline(never)
  private func readPlain<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= plain.load(ordering: .acquiring).unsafelyUnwrapped.pointee.number }
    return sum
  }

  @inline(never)
  private func readMemb<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= memb.read { $0.number } }
    return sum
  }

  @inline(never)
  private func loadMemb<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= Memb.read { section in memb.load(section).value.number } }
    return sum
  }

  @inline(never)
  private func readMB<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= mb.read { $0.number } }
    return sum
  }

  @inline(never)
  private func readBulletproof<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count { sum &+= bulletproof.read { $0.number } }
    return sum
  }

  @inline(never)
  private func loadQSBR<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    QSBR.withOnlineReader { reader in
      var sum: UInt64 = 0
      place.begin()
      for _ in 0..<count { sum &+= qsbr.load(reader).value.number }
      return sum
    }
  }

  @inline(never)
  private func readQSBR<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    QSBR.withOnlineReader { _ in
      var sum: UInt64 = 0
      place.begin()
      for _ in 0..<count { sum &+= qsbr.read { $0.number } }
      return sum
    }
  }

  /// Takes an object out of each section: what no read may cost.
  @inline(never)
  private func retainOnPurpose<P: Place>(at place: P.Type, _ count: UInt64) -> UInt64 {
    var sum: UInt64 = 0
    place.begin()
    for _ in 0..<count {
      let owner = memb.read { $0.owner }
      sum &+= owner === self ? 0 : memb.read { $0.number }
    }
    return sum
  }
}
