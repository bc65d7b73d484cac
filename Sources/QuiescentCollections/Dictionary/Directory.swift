public import Quiescence
public import Synchronization

/// The slots of a dictionary: 2^depth pointers to buckets.
///
/// Layout: a mask for hashes, the depth, the head of an empty bucket that empty slots point to, the
/// slots. A directory is replaced as a whole; its slots are written under their stripe's lock.
@usableFromInline
struct Directory<Key: Hashable, Value>: Equatable {
  @usableFromInline
  let base: UnsafeMutableRawPointer

  @usableFromInline
  typealias Slot = Atomic<UnsafeMutableRawPointer>

  @inlinable @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    self.base = base
  }

  @inlinable
  var mask: UInt {
    @inline(__always)
    get { base.assumingMemoryBound(to: UInt.self).pointee }
  }

  @inlinable
  var depth: Int { (base + 8).assumingMemoryBound(to: Int.self).pointee }

  @inlinable
  var slotCount: Int { Int(bitPattern: mask) + 1 }

  @inlinable
  var empty: Bucket<Key, Value> { Bucket(base + 16) }

  @inlinable @inline(__always)
  func slot(_ index: UInt) -> UnsafeMutablePointer<Slot> {
    (base + 32).assumingMemoryBound(to: Slot.self) + Int(bitPattern: index)
  }

  /// The first bucket of a slot, under the slot's lock.
  @inlinable
  func head(_ index: UInt) -> Bucket<Key, Value> { Bucket(slot(index).pointee.load(ordering: .relaxed)) }

  /// A directory whose slots are empty.
  @inlinable
  static func make(depth: Int) -> Directory {
    let count = 1 << depth
    let directory = Directory(
      .allocate(byteCount: 32 + count * MemoryLayout<Slot>.stride, alignment: 64))
    directory.base.initializeMemory(as: UInt.self, to: UInt(count - 1))
    (directory.base + 8).initializeMemory(as: Int.self, to: depth)
    directory.empty.initializeHead(depth: depth, next: nil)
    for index in 0..<UInt(count) { directory.slot(index).initialize(to: Atomic(directory.empty.base)) }
    return directory
  }

  /// Gives the memory of the directory back; the buckets are in another one.
  @inlinable
  func free() { base.deallocate() }

  /// Frees the directory and the buckets.
  @inlinable
  func freeAll() {
    for index in 0..<UInt(slotCount) {
      let head = head(index)
      // A bucket of d bits is in every slot with the same d bits; the first of them frees it.
      if head != empty && index >> UInt(head.depth) == 0 { head.freeChain() }
    }
    free()
  }
}

/// Frees a directory after its buckets were put into another one.
@usableFromInline
enum DirectoryReclaimer<Key: Hashable, Value>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) { Directory<Key, Value>(argument).free() }
}

/// Frees a directory whose buckets were joined, and those of them that were replaced: what is still
/// in use is in two slots.
@usableFromInline
enum JoinedReclaimer<Key: Hashable, Value>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let directory = Directory<Key, Value>(argument)
    let half = UInt(directory.slotCount / 2)
    for index in 0..<half {
      let heads = (directory.head(index), directory.head(index + half))
      if heads.0 == heads.1 { continue }
      for head in [heads.0, heads.1] where head != directory.empty { head.freeChain() }
    }
    directory.free()
  }
}

/// Frees a directory with all that is in it.
@usableFromInline
enum TableReclaimer<Key: Hashable, Value>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) { Directory<Key, Value>(argument).freeAll() }
}
