import Quiescence
import Synchronization

/// Sees who waits without an end: looks at every waiter twenty times a second, and at whether it is still the same wait.
///
/// It counts its own looks and not the time that has passed, so a machine that stood still for a while is no hang.
final class Watchdog<F: TortureFlavor>: Sendable {
  private let scene: Scene<F>
  private let bites = Atomic<Bool>(false)
  private let ended = Atomic<Bool>(false)

  private static var looksPerSecond: Int { 20 }
  /// Sections last for milliseconds, a flood for less than a second.
  private static var patience: Int { 5 * looksPerSecond }

  init(_ scene: Scene<F>) {
    self.scene = scene
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
    while !ended.load(ordering: .relaxed) {
      sleep(microseconds: 1_000_000 / Self.looksPerSecond)
      for index in 0..<scene.presence.count {
        readers.look(index, Int(truncatingIfNeeded: scene.presence.number(index)))
      }
      for index in completed.indices {
        let looks = waiters.look(index, scene.waits.number(index))
        if looks == 0 { completed[index] = F.statistics.completed }
        if looks >= Self.patience { return bite(index, F.statistics.completed - completed[index], readers) }
      }
    }
  }

  private func bite(_ waiter: Int, _ gracePeriods: Int, _ readers: Unchanged) {
    let stuck = (0..<scene.presence.count).filter { readers.looks[$0] >= Self.patience }
    let sections =
      stuck.isEmpty
      ? "no reader was in one section all the time"
      : "in a section all the time: reader \(stuck.map(String.init).joined(separator: ", "))"
    scene.failures.record(
      .hangs,
      "\(scene.waits.names[waiter]) has waited for \(Self.patience / Self.looksPerSecond) seconds in "
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
