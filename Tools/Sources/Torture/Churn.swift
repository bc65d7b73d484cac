import CTorture
import Foundation
import Quiescence
import Synchronization

/// A thread that starts threads which read, retire and end, so that grace periods meet threads at
/// every point of their life.
final class Churn<F: TortureFlavor> {
  private let scene: Scene<F>
  private var random: Random

  init(_ scene: Scene<F>, lane: Int) {
    self.scene = scene
    random = Random(seed: scene.options.seed, stream: 4000 + lane)
  }

  /// Runs until the torture stops.
  func run() {
    while !scene.isStopped {
      let threads = (0...random.below(4)).compactMap { _ in
        let life = ShortLivedThread(scene, random: Random(seed: random.next(), stream: 0))
        return try? TortureThread { life.run() }
      }
      for thread in threads { thread.join() }
      scene.churned.add(threads.count, ordering: .relaxed)
      if random.oneIn(4) { sleep(microseconds: random.below(5000)) }
      scene.pausePoint.pass()
    }
  }
}

/// A thread that does a few things and ends.
private final class ShortLivedThread<F: TortureFlavor>: RoundReader, @unchecked Sendable {
  // Unchecked: created by one thread and then used by another one alone.
  private let scene: Scene<F>
  private var random: Random

  init(_ scene: Scene<F>, random: Random) {
    self.scene = scene
    self.random = random
  }

  func run() {
    switch random.below(8) {
    // Does not read.
    case 0: break
    // Ends right after its first read has registered it.
    case 1: read(rounds: 1)
    case 2: read(rounds: 1 + random.below(20))
    // Ends while what it has retired has not run yet.
    case 3: retire()
    case 4:
      retire()
      read(rounds: 2)
    case 5:
      read(rounds: 1)
      F.synchronize()
      retire()
    // Reads again during its end, which registers and unregisters it once more.
    case 6:
      read(rounds: 1)
      LateWork.atEnd { [self] in
        read(rounds: 1)
        retire()
      }
    default:
      LateWork.atEnd { [self] in read(rounds: 1) }
    }
  }

  func below(_ bound: Int) -> Int { random.below(bound) }

  func pause() { if random.oneIn(4) { sched_yield() } }

  private func read(rounds: Int) {
    for _ in 0..<rounds { F.round(of: self) }
  }

  func section() {
    let slot = scene.pools[random.below(scene.pools.count)].slot
    let spins = random.below(2000)
    let token = F.unsafeEnter()
    if let element = slot.pointee.current.load(ordering: .acquiring) {
      let number = element.pointee.contents()
      torture_spin(spins)
      let age = element.pointee.age.load(ordering: .relaxed)
      if number == nil || element.pointee.contents() != number {
        scene.failures.record(.usedAfterFree, "a thread that was about to end held an element that was freed")
      }
      if age > 1 {
        scene.failures.record(.overtaken, "a thread that was about to end held an element of age \(age)")
      }
    }
    F.unsafeLeave(token)
    scene.readsOfChurned.add(1, ordering: .relaxed)
  }

  private func retire() {
    for _ in 0...random.below(4) {
      let entry = ChainedEntry<F>(ledger: scene.ledger)
      let kind = RetireKind.allCases[random.below(3)]
      entry.post(as: kind, choosing: random.next(), links: random.below(3), polls: random.oneIn(8))
    }
  }
}

/// Work that a thread does while its thread-local memory is destroyed.
private enum LateWork {
  private static let key: pthread_key_t = {
    var key = pthread_key_t()
    pthread_key_create(&key) { body in
      // Not NULL: the key's destructor runs only for the value that is set below.
      Unmanaged<Body>.fromOpaque(body!).takeRetainedValue().body()
    }
    return key
  }()

  private final class Body {
    let body: () -> Void

    init(_ body: @escaping () -> Void) {
      self.body = body
    }
  }

  /// Call this once per thread.
  static func atEnd(_ body: @escaping () -> Void) {
    let late = Unmanaged.passRetained(Body(body))
    if pthread_setspecific(key, late.toOpaque()) != 0 { late.release() }
  }
}
