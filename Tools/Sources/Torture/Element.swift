import Synchronization

/// What is published and replaced. Its memory stays until the end, so that a broken grace period gives a wrong age and
/// not a crash.
struct Element: ~Copyable {
  /// 0 while it can be found, 1 once it was removed, and one more for each grace period since.
  let age = Atomic<Int>(0)
  private let magic = Atomic<UInt64>(Self.poison)
  private let number = Atomic<UInt64>(0)
  private let checksum = Atomic<UInt64>(0)
  /// In the pool. Set by whoever frees it, cleared by the writer that owns the pool.
  let isFree = Atomic<Bool>(true)
  let padding = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

  /// At this age an element is freed.
  static let pipeLength = 10

  private static let live: UInt64 = 0x600d_e1e3_e475_600d
  private static let poison: UInt64 = 0xdead_e1e3_e475_dead

  /// Before it is published.
  func fill(_ number: UInt64) {
    age.store(0, ordering: .relaxed)
    self.number.store(number, ordering: .relaxed)
    checksum.store(mix(number), ordering: .relaxed)
    magic.store(Self.live, ordering: .relaxed)
  }

  /// What a reader finds in it; nil when that is not what was written before it was published.
  @inline(__always)
  func contents() -> UInt64? {
    let number = number.load(ordering: .relaxed)
    if magic.load(ordering: .relaxed) != Self.live { return nil }
    return checksum.load(ordering: .relaxed) == mix(number) ? number : nil
  }

  /// When no reader can have it any more.
  func free() {
    magic.store(Self.poison, ordering: .relaxed)
    checksum.store(0, ordering: .relaxed)
    // Release: what fills it next comes after the poison.
    isFree.store(true, ordering: .releasing)
  }
}

/// An element of a pool that lives longer than every thread of the run.
struct ElementReference: @unchecked Sendable {
  // Unchecked for the memory, which holds atomics alone.
  let pointer: UnsafeMutablePointer<Element>

  var age: Int { pointer.pointee.age.load(ordering: .relaxed) }

  /// After a grace period. True when it was the last one.
  func ageByOne() -> Bool {
    pointer.pointee.age.add(1, ordering: .releasing).newValue >= Element.pipeLength
  }
}

/// The elements of one writer, and the place where it publishes them.
final class ElementPool: @unchecked Sendable {
  // Unchecked for the memory, which holds atomics alone, and for what belongs to the writer.
  private let memory: UnsafeMutablePointer<Element>
  let slot: UnsafeMutablePointer<Slot>
  /// The writer's own: where it looks next.
  private var next = 0

  static let size = 10 * Element.pipeLength

  /// Where readers find the element. On cache lines of its own.
  struct Slot: ~Copyable {
    let current = Atomic<UnsafeMutablePointer<Element>?>(nil)
    let padding = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
  }

  init() {
    memory = .allocate(capacity: Self.size)
    for index in 0..<Self.size { (memory + index).initialize(to: Element()) }
    slot = .allocate(capacity: 1)
    slot.initialize(to: Slot())
  }

  deinit {
    memory.deinitialize(count: Self.size)
    memory.deallocate()
    slot.deinitialize(count: 1)
    slot.deallocate()
  }

  /// By the writer alone. Nil when all are in use.
  func take() -> ElementReference? {
    for _ in 0..<Self.size {
      next = (next + 1) % Self.size
      // Acquire: with the release of whoever freed it.
      if memory[next].isFree.load(ordering: .acquiring) {
        memory[next].isFree.store(false, ordering: .relaxed)
        return ElementReference(pointer: memory + next)
      }
    }
    return nil
  }

  /// Replaces the one that readers find, and gives the old one back, which they may still hold.
  func publish(_ new: ElementReference) -> ElementReference? {
    let old = slot.pointee.current.exchange(new.pointer, ordering: .acquiringAndReleasing)
    guard let old else { return nil }
    old.pointee.age.store(1, ordering: .releasing)
    return ElementReference(pointer: old)
  }

  /// The element's place in the pool.
  func index(of element: ElementReference) -> Int { element.pointer - memory }

  /// How many are neither free nor published. When everything has come back, none.
  var missing: Int {
    let free = (0..<Self.size).count { memory[$0].isFree.load(ordering: .acquiring) }
    let isPublished = slot.pointee.current.load(ordering: .acquiring) != nil
    return Self.size - free - (isPublished ? 1 : 0)
  }
}
