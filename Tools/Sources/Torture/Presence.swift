import Synchronization

/// Who is inside a section, as the readers themselves say: a number for each, odd while inside.
///
/// A reader says so after it has entered and stops saying so before it leaves. Whoever reads an odd number knows that
/// the section had begun, so a grace period that begins afterwards must not end before the number has changed. This
/// holds for every flavor and needs no knowledge of how it works.
final class Presence: @unchecked Sendable {
  // Unchecked for the memory, which holds atomics alone and lives as long as the object.
  private let memory: UnsafeMutablePointer<Place>
  let count: Int

  /// Two cache lines each: readers do not meet here.
  private struct Place: ~Copyable {
    let number = Atomic<UInt64>(0)
    let padding = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
  }

  init(count: Int) {
    self.count = count
    memory = .allocate(capacity: count)
    for index in 0..<count { (memory + index).initialize(to: Place()) }
  }

  deinit {
    memory.deinitialize(count: count)
    memory.deallocate()
  }

  /// By the owner of the place, right after it has entered.
  @inline(__always)
  func entered(_ index: Int) { step(index) }

  /// By the owner of the place, right before it leaves.
  @inline(__always)
  func leaves(_ index: Int) { step(index) }

  /// Release, and no fence: a fence in the reader would hide that the flavor lacks one.
  @inline(__always)
  private func step(_ index: Int) {
    memory[index].number.store(memory[index].number.load(ordering: .relaxed) &+ 1, ordering: .releasing)
  }

  /// Any thread.
  func number(_ index: Int) -> UInt64 { memory[index].number.load(ordering: .acquiring) }

  // MARK: - Witnesses

  /// Somebody who is inside.
  struct Witness: Sendable {
    let index: Int
    let number: UInt64
  }

  /// A look at one place: nil when nobody is inside.
  func witness(_ index: Int) -> Witness? {
    let number = number(index)
    return number % 2 == 1 ? Witness(index: index, number: number) : nil
  }

  /// Everybody who is inside.
  func witnesses() -> [Witness] { (0..<count).compactMap(witness) }

  /// Whether the section is still the same one. After its grace period it must not be.
  func isStillInside(_ witness: Witness) -> Bool { number(witness.index) == witness.number }

  /// The first one who is still inside the same section.
  func remaining(of witnesses: [Witness]) -> Witness? { witnesses.first(where: isStillInside) }
}
