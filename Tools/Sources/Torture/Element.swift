import Synchronization

/// The object that writers publish and replace. Its memory is freed only at the end of the run, so
/// that a broken grace period causes a wrong age instead of a crash.
struct Element: ~Copyable {
  /// 0 while readers can find it, 1 after it was removed, and one more for each grace period since.
  let age = Atomic<Int>(0)
  private let magic = Atomic<UInt64>(Self.poison)
  private let number = Atomic<UInt64>(0)
  private let checksum = Atomic<UInt64>(0)
  /// Whether it is in the pool. Set when it is freed, cleared by the writer that owns the pool.
  let isFree = Atomic<Bool>(true)
  let padding = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

  /// An element of this age is freed.
  static let pipeLength = 10

  private static let live: UInt64 = 0x600d_e1e3_e475_600d
  private static let poison: UInt64 = 0xdead_e1e3_e475_dead

  /// Fills the element before it is published.
  func fill(_ number: UInt64) {
    age.store(0, ordering: .relaxed)
    self.number.store(number, ordering: .relaxed)
    checksum.store(mix(number), ordering: .relaxed)
    magic.store(Self.live, ordering: .relaxed)
  }

  /// The contents that a reader finds. Nil if they are not what was written before the element was
  /// published.
  @inline(__always)
  func contents() -> UInt64? {
    let number = number.load(ordering: .relaxed)
    if magic.load(ordering: .relaxed) != Self.live { return nil }
    return checksum.load(ordering: .relaxed) == mix(number) ? number : nil
  }

  /// Call this when no reader can hold the element.
  func free() {
    magic.store(Self.poison, ordering: .relaxed)
    checksum.store(0, ordering: .relaxed)
    // Release: the next use of the element comes after the poison.
    isFree.store(true, ordering: .releasing)
  }
}

/// An element of a pool that outlives every thread of the run.
struct ElementReference: @unchecked Sendable {
  // Unchecked for the memory, which contains only atomics.
  let pointer: UnsafeMutablePointer<Element>

  var age: Int { pointer.pointee.age.load(ordering: .relaxed) }

  /// Call this after a grace period. Returns true if it was the last one.
  func ageByOne() -> Bool {
    pointer.pointee.age.add(1, ordering: .releasing).newValue >= Element.pipeLength
  }
}

/// The elements of one writer, and the slot where it publishes them.
final class ElementPool: @unchecked Sendable {
  // Unchecked for the memory, which contains only atomics, and for the variables that only the
  // writer uses.
  private let memory: UnsafeMutablePointer<Element>
  let slot: UnsafeMutablePointer<Slot>
  /// Where the writer searches next. Used by the writer alone.
  private var next = 0

  static let size = 10 * Element.pipeLength

  /// The place where readers find the element, on cache lines of its own.
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

  /// Takes a free element; nil if all are in use. Used by the writer alone.
  func take() -> ElementReference? {
    for _ in 0..<Self.size {
      next = (next + 1) % Self.size
      // Acquire: pairs with the release of the thread that freed it.
      if memory[next].isFree.load(ordering: .acquiring) {
        memory[next].isFree.store(false, ordering: .relaxed)
        return ElementReference(pointer: memory + next)
      }
    }
    return nil
  }

  /// Replaces the published element. Returns the old one, which readers may still hold.
  func publish(_ new: ElementReference) -> ElementReference? {
    let old = slot.pointee.current.exchange(new.pointer, ordering: .acquiringAndReleasing)
    guard let old else { return nil }
    old.pointee.age.store(1, ordering: .releasing)
    return ElementReference(pointer: old)
  }

  /// The element's index in the pool.
  func index(of element: ElementReference) -> Int { element.pointer - memory }

  /// The number of elements that are neither free nor published: zero after every element has come
  /// back.
  var missing: Int {
    let free = (0..<Self.size).count { memory[$0].isFree.load(ordering: .acquiring) }
    let isPublished = slot.pointee.current.load(ordering: .acquiring) != nil
    return Self.size - free - (isPublished ? 1 : 0)
  }
}
