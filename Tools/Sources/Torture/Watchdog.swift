import Quiescence
import Synchronization

/// Sees who waits without an end: looks at every waiter twenty times a second, and at whether it is still the same wait.
///
/// Where nothing moves any more, no grace period and no callback, it bites after five seconds; somebody who was left
/// behind while all others go on, after twenty.
///
/// It counts its own looks and not the time that has passed, so a machine that stood still for a while is no hang.
final class Watchdog<F: TortureFlavor>: Sendable {
  private let scene: Scene<F>
  private let bites = Atomic<Bool>(false)
  private let ended = Atomic<Bool>(false)

  /// Looks at a wait until it is a hang, when nothing moves.
  private let standstill: Int
  /// The same when others go on.
  private let leftBehind: Int

  private static var looksPerSecond: Int { 20 }

  /// - Parameters:
  ///   - standstill: Seconds. Sections last for milliseconds.
  ///   - leftBehind: Seconds. On a machine that has much else to do a flood takes some.
  init(_ scene: Scene<F>, standstill: Int = 5, leftBehind: Int = 20) {
    self.scene = scene
    self.standstill = standstill * Self.looksPerSecond
    self.leftBehind = leftBehind * Self.looksPerSecond
  }

  /// Somebody waited for too long.
  var hasBitten: Bool { bites.load(ordering: .acquiring) }

  func end() { ended.store(true, ordering: .relaxed) }

  /// Until it is ended, or has found somebody.
  func run() {
    var waiters = Unchanged(count: scene.waits.names.count)
    var readers = Unchanged(count: scene.presence.count)
    /// Grace periods that had ended when each wait was first seen.
    var completed = [Int](repeating: 0, count: scene.waits.names.count)
    var lastMove = (completed: 0, ran: 0)
    var looksSinceMove = 0
    while !ended.load(ordering: .relaxed) {
      sleep(microseconds: 1_000_000 / Self.looksPerSecond)
      for index in 0..<scene.presence.count {
        readers.look(index, Int(truncatingIfNeeded: scene.presence.number(index)))
      }
      let move = (completed: F.completedGracePeriods, ran: scene.ledger.counts.ran)
      looksSinceMove = move == lastMove ? looksSinceMove + 1 : 0
      lastMove = move
      let patience = looksSinceMove >= standstill ? standstill : leftBehind
      for index in completed.indices {
        let looks = waiters.look(index, scene.waits.number(index))
        if looks == 0 { completed[index] = move.completed }
        if looks >= patience { return bite(index, patience, move.completed - completed[index], readers) }
      }
    }
  }

  private func bite(_ waiter: Int, _ patience: Int, _ gracePeriods: Int, _ readers: Unchanged) {
    let stuck = (0..<scene.presence.count).filter { readers.looks[$0] >= patience }
    let sections =
      stuck.isEmpty
      ? "no reader was in one section all the time"
      : "in a section all the time: reader \(stuck.map(String.init).joined(separator: ", "))"
    scene.failures.record(
      .hangs,
      "\(scene.waits.names[waiter]) has waited for \(patience / Self.looksPerSecond) seconds in "
        + "\(scene.waits.way(waiter).words), in which \(gracePeriods) grace periods ended; \(sections)")
    bites.store(true, ordering: .releasing)
  }

  /// For how many looks each number was odd and the same.
  private struct Unchanged {
    private var numbers: [Int]
    private(set) var looks: [Int]

    init(count: Int) {
      numbers = .init(repeating: 0, count: count)
      looks = numbers
    }

    @discardableResult
    mutating func look(_ index: Int, _ number: Int) -> Int {
      looks[index] = number == numbers[index] && number % 2 != 0 ? looks[index] + 1 : 0
      numbers[index] = number
      return looks[index]
    }
  }
}
