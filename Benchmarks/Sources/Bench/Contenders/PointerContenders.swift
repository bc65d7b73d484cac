import Quiescence
import QuiescentCollections

/// Noncopyable, as nodes of a structure are.
private struct Node: ~Copyable, Sendable {
  let number: UInt64

  init() { number = publishedNumber }
}

private final class Pointers: Sendable {
  let memb = RCUPointer(Node(), flavor: Memb.self)
  let qsbr = RCUPointer(Node(), flavor: QSBR.self)
}

extension Contender {
  /// Pointers of two flavors.
  static func pointers() -> [Contender] {
    let pointers = Pointers()
    return [
      Contender(
        name: "RCUPointer.load, QSBR",
        read: { place, count in
          QSBR.withOnlineReader { reader in
            sum(at: place, count) { pointers.qsbr.load(reader)?.value.number ?? 0 }
          }
        },
        update: { pointers.qsbr.publish(Node()) }, drain: { QSBR.barrier() }),
      Contender(
        name: "RCUPointer.load, Memb",
        read: { place, count in
          sum(at: place, count) { Memb.read { section in pointers.memb.load(section)?.value.number ?? 0 } }
        },
        update: { pointers.memb.publish(Node()) }, drain: { Memb.barrier() }),
    ]
  }
}
