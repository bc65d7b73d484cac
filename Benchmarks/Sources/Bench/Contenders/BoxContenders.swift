import CPeers
import Quiescence

/// The value in the boxes: the same as `peer_item`, and an object that could be retained.
struct Item: Sendable {
  let number: UInt64
  let owner: Owner?

  init() {
    (number, owner) = (publishedNumber, Owner())
  }
}

final class Owner: Sendable {}

/// Boxes beside each other in one object, and one far from both.
private final class Neighbors: Sendable {
  let read = RCUBox(Item())
  let updated = RCUBox(Item())
  let far = Far()

  final class Far: Sendable {
    let before = RCUBox(Item())
    let updated = RCUBox(Item())
    let after = RCUBox(Item())
  }
}

/// One box of each flavor.
private final class Boxes: Sendable {
  let memb = RCUBox(Item())
  let mb = RCUBox(Item(), flavor: MB.self)
  let bulletproof = RCUBox(Item(), flavor: Bulletproof.self)
  let qsbr = RCUBox(Item(), flavor: QSBR.self)
}

extension Contender {
  /// The contenders of this library. With `retainOnPurpose`, the reader of `Memb` takes an object
  /// out of each section, which causes a retain that no read may have.
  static func boxes(retainOnPurpose: Bool = false) -> [Contender] {
    let boxes = Boxes()
    return [
      qsbrLoad(boxes), qsbrRead(boxes), retainOnPurpose ? retaining(boxes) : memb(boxes), membLoad(boxes),
      bulletproof(boxes), mb(boxes),
    ]
  }

  private static func memb(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.read, Memb",
      read: { place, count in sum(at: place, count) { boxes.memb.read { $0.number } } },
      work: { length, count in sum(count) { boxes.memb.read { peer_work($0.number, length) } } },
      update: { boxes.memb.exchange(Item()) },
      synchronize: { Memb.synchronize() }, drain: { Memb.barrier() })
  }

  private static func membLoad(_ boxes: Boxes) -> Contender {
    Contender(
      name: "Memb.read and RCUBox.load",
      read: { place, count in
        sum(at: place, count) { Memb.read { section in boxes.memb.load(section).value.number } }
      })
  }

  private static func bulletproof(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.read, Bulletproof",
      read: { place, count in sum(at: place, count) { boxes.bulletproof.read { $0.number } } },
      work: { length, count in sum(count) { boxes.bulletproof.read { peer_work($0.number, length) } } },
      update: { boxes.bulletproof.exchange(Item()) },
      synchronize: { Bulletproof.synchronize() }, drain: { Bulletproof.barrier() })
  }

  private static func mb(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.read, MB",
      read: { place, count in sum(at: place, count) { boxes.mb.read { $0.number } } },
      work: { length, count in sum(count) { boxes.mb.read { peer_work($0.number, length) } } },
      update: { boxes.mb.exchange(Item()) },
      synchronize: { MB.synchronize() }, drain: { MB.barrier() })
  }

  /// Online during a whole loop.
  private static func qsbrRead(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.read, QSBR",
      read: { place, count in
        QSBR.withOnlineReader { _ in sum(at: place, count) { boxes.qsbr.read { $0.number } } }
      },
      work: { length, count in
        QSBR.withOnlineReader { _ in sum(count) { boxes.qsbr.read { peer_work($0.number, length) } } }
      },
      update: { boxes.qsbr.exchange(Item()) },
      synchronize: { QSBR.synchronize() }, drain: { QSBR.barrier() })
  }

  private static func qsbrLoad(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.load, QSBR",
      read: { place, count in
        QSBR.withOnlineReader { reader in sum(at: place, count) { boxes.qsbr.load(reader).value.number } }
      })
  }

  private static func retaining(_ boxes: Boxes) -> Contender {
    Contender(
      name: "RCUBox.read, Memb",
      read: { place, count in
        sum(at: place, count) {
          let owner = boxes.memb.read { $0.owner }
          return owner === boxes ? 0 : boxes.memb.read { $0.number }
        }
      })
  }

  /// What a writer costs the readers of the box that it updates in a closure; of the box beside it,
  /// and of one that is far away. And the same for updates that are given up: they publish nothing,
  /// retire nothing, and may cost no reader.
  static func closureUpdates() -> [Contender] {
    let boxes = Neighbors()
    let read: @Sendable (Int32, UInt64) -> UInt64 = { place, count in
      sum(at: place, count) { boxes.read.read { $0.number } }
    }
    func contender(_ name: String, update: @escaping @Sendable () -> Void) -> Contender {
      Contender(name: name, read: read, update: update, drain: { Memb.barrier() })
    }
    return [
      contender("RCUBox.read, Memb, by closure") { boxes.read.update { $0 = Item() } },
      contender(Contender.besideNeighbor) { boxes.updated.update { $0 = Item() } },
      contender(Contender.besideFar) { boxes.far.updated.update { $0 = Item() } },
      contender(Contender.givenUp) { giveUpUpdate(of: boxes.read) },
      contender(Contender.besideNeighborGivenUp) { giveUpUpdate(of: boxes.updated) },
      contender(Contender.besideFarGivenUp) { giveUpUpdate(of: boxes.far.updated) },
    ]
  }

  private struct GivenUp: Error {}

  private static func giveUpUpdate(of box: borrowing RCUBox<Item, Memb>) {
    _ = try? box.update { _ throws(GivenUp) in throw GivenUp() }
  }

  static let besideNeighbor = "RCUBox.read, Memb, neighbor updated"
  static let besideFar = "RCUBox.read, Memb, far box updated"
  static let givenUp = "RCUBox.read, Memb, updates given up"
  static let besideNeighborGivenUp = "RCUBox.read, Memb, neighbor's given up"
  static let besideFarGivenUp = "RCUBox.read, Memb, far box's given up"
}
