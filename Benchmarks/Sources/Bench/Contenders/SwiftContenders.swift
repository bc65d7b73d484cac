import Atomics
import CPeers
import Synchronization

/// The object that a reference is published to.
private final class Published: AtomicReference, Sendable {
  let number = publishedNumber
}

private final class Locked: Sendable {
  let number = Mutex(publishedNumber)
  let reference = Mutex(Published())
}

private final class Atomics: Sendable {
  // Unsafe: no thread writes to the memory behind the pointer.
  nonisolated(unsafe) let plain: Atomic<UnsafeMutablePointer<Item>?>

  init() {
    let pointer = UnsafeMutablePointer<Item>.allocate(capacity: 1)
    pointer.initialize(to: Item())
    plain = Atomic(pointer)
  }
}

extension Contender {
  static func floors() -> [Contender] {
    [
      Contender(name: "floor, C", number: 1, read: { peer_floor($0, $1) }),
      Contender(
        name: "floor, Swift", number: 1, read: { place, count in sum(at: place, count) { peer_opaque(1) } }),
    ]
  }

  /// The alternatives in Swift.
  static func swift() -> [Contender] { [plain(), lazyReference(), mutex(), mutexOfReference(), reference()] }

  /// Like `peer_plain`.
  private static func plain() -> Contender {
    let atomics = Atomics()
    return Contender(
      name: "Atomic.load, Swift",
      read: { place, count in
        sum(at: place, count) { atomics.plain.load(ordering: .acquiring).unsafelyUnwrapped.pointee.number }
      })
  }

  private static func lazyReference() -> Contender {
    let lazy = ManagedAtomicLazyReference<Published>()
    _ = lazy.storeIfNilThenLoad(Published())
    return Contender(
      name: "ManagedAtomicLazyReference",
      read: { place, count in sum(at: place, count) { lazy.load().unsafelyUnwrapped.number } })
  }

  private static func mutex() -> Contender {
    let locked = Locked()
    return Contender(
      name: "Mutex, Swift", blocks: true,
      read: { place, count in sum(at: place, count) { locked.number.withLock { $0 } } },
      work: { length, count in sum(count) { locked.number.withLock { peer_work($0, length) } } },
      update: { locked.number.withLock { $0 = publishedNumber } },
      synchronize: { locked.number.withLock { _ in } })
  }

  private static func mutexOfReference() -> Contender {
    let locked = Locked()
    return Contender(
      name: "Mutex of a reference, Swift", blocks: true,
      read: { place, count in sum(at: place, count) { locked.reference.withLock { $0 }.number } },
      work: { length, count in sum(count) { peer_work(locked.reference.withLock { $0 }.number, length) } },
      update: { locked.reference.withLock { $0 = Published() } })
  }

  private static func reference() -> Contender {
    let atomic = ManagedAtomic(Published())
    return Contender(
      name: "AtomicReference.load",
      read: { place, count in sum(at: place, count) { atomic.load(ordering: .acquiring).number } },
      work: { length, count in sum(count) { peer_work(atomic.load(ordering: .acquiring).number, length) } },
      update: { atomic.store(Published(), ordering: .releasing) })
  }
}

/// What an actor's clients do.
actor ActorContender {
  static let name = "actor, Swift"

  private var number = publishedNumber

  func read() -> UInt64 { number }

  func update() { number = publishedNumber }
}
