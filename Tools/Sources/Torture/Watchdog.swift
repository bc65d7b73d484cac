import Quiescence
import Synchronization

/// Finds waits that do not end: it tests every waiter twenty times a second, and whether it is
/// still in the same wait.
///
/// When nothing makes progress, no grace period and no callback, a wait counts as a hang after five
/// seconds. When other waiters make progress, it counts as a hang after twenty seconds.
///
/// The watchdog counts its own tests, not elapsed time, so a machine that was suspended for a while
/// is not a hang.
final class Watchdog<F: TortureFlavor>: Sendable {
  private let scene: Scene<F>
  private let foundHang = Atomic<Bool>(false)
  private let ended = Atomic<Bool>(false)

  /// The number of tests after which a wait counts as a hang, if nothing makes progress.
  private let standstill: Int
  /// The same, if other waiters make progress.
  private let leftBehind: Int

  private static var looksPerSecond: Int { 20 }

  /// - Parameters:
  ///   - standstill: Seconds. Sections last for milliseconds.
  ///   - leftBehind: Seconds. On a busy machine, a flood takes a few.
  init(_ scene: Scene<F>, standstill: Int = 5, leftBehind: Int = 20) {
    self.scene = scene
    self.standstill = standstill * Self.looksPerSecond
    self.leftBehind = leftBehind * Self.looksPerSecond
  }

  /// Whether a hang was found.
  var hasFoundHang: Bool { foundHang.load(ordering: .acquiring) }

  func end() { ended.store(true, ordering: .relaxed) }

  /// Runs until it is ended, or has found a hang.
  func run() {
    var waiters = Unchanged(count: scene.waits.names.count)
    var readers = Unchanged(count: scene.presence.count)
    /// The number of grace periods that had ended when each wait was first seen.
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
        if looks >= patience {
          return reportHang(index, patience, move.completed - completed[index], readers)
        }
      }
    }
  }

  private func reportHang(_ waiter: Int, _ patience: Int, _ gracePeriods: Int, _ readers: Unchanged) {
    let stuck = (0..<scene.presence.count).filter { readers.looks[$0] >= patience }
    let sections =
      stuck.isEmpty
      ? "no reader was in one section all the time"
      : "in a section all the time: reader \(stuck.map(String.init).joined(separator: ", "))"
    scene.failures.record(
      .hangs,
      "\(scene.waits.names[waiter]) has waited for \(patience / Self.looksPerSecond) seconds in "
        + "\(scene.waits.way(waiter).words), in which \(gracePeriods) grace periods ended; \(sections)")
    foundHang.store(true, ordering: .releasing)
  }

  /// For how many tests each number has been odd and unchanged.
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
