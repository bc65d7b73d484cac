import Synchronization

/// Which readers are inside a section, as the readers themselves report: a number for each reader,
/// odd while it is inside.
///
/// A reader makes its number odd after it has entered, and even before it leaves. A thread that
/// reads an odd number knows that the section had begun. So a grace period that begins afterwards
/// must not end before the number has changed. This holds for every flavor, and depends on nothing
/// inside the flavor.
final class Presence: @unchecked Sendable {
  // Unchecked for the memory, which contains only atomics and lives as long as the object.
  private let memory: UnsafeMutablePointer<Place>
  let count: Int

  /// Two cache lines each, so that readers do not contend.
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

  /// The reader of this index calls this right after it has entered.
  @inline(__always)
  func entered(_ index: Int) { step(index) }

  /// The reader of this index calls this right before it leaves.
  @inline(__always)
  func leaves(_ index: Int) { step(index) }

  /// Release, and no fence: a fence here would hide that one is missing in the flavor.
  @inline(__always)
  private func step(_ index: Int) {
    memory[index].number.store(memory[index].number.load(ordering: .relaxed) &+ 1, ordering: .releasing)
  }

  /// Any thread.
  func number(_ index: Int) -> UInt64 { memory[index].number.load(ordering: .acquiring) }

  // MARK: - Witnesses

  /// A reader that was inside a section.
  struct Witness: Sendable {
    let index: Int
    let number: UInt64
  }

  /// The reader of this index, if it is inside; nil otherwise.
  func witness(_ index: Int) -> Witness? {
    let number = number(index)
    return number % 2 == 1 ? Witness(index: index, number: number) : nil
  }

  /// All readers that are inside.
  func witnesses() -> [Witness] { (0..<count).compactMap(witness) }

  /// Whether the reader is still in the same section. After a grace period that began later it must
  /// not be.
  func isStillInside(_ witness: Witness) -> Bool { number(witness.index) == witness.number }

  /// The first reader that is still in the same section.
  func remaining(of witnesses: [Witness]) -> Witness? { witnesses.first(where: isStillInside) }
}
