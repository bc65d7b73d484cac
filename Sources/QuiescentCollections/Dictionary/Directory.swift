internal import Glibc
public import Quiescence
public import Synchronization

/// The slots of a dictionary: 2^depth pointers to buckets.
///
/// Layout: a mask for hashes, the depth, the head of an empty bucket that empty slots point to, the
/// slots. A directory is replaced as a whole; its slots are written under their stripe's lock.
///
/// A slot is a word: the address of its first bucket in the lower 48 bits, and above them a bit for
/// each sixteenth of the tags, set when a bucket of the slot may have an entry with such a tag. A
/// lookup of a key that is not there seldom goes to a bucket.
@usableFromInline
struct Directory<Key: Hashable, Value>: Equatable {
  @usableFromInline
  let base: UnsafeMutableRawPointer

  @usableFromInline
  typealias Slot = Atomic<UInt>

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

  // MARK: - Slots

  /// How many bits an address has in user space on Linux, unless a program asks for more.
  @inlinable
  static var addressBits: UInt { 48 }

  /// The first bucket of a slot with this word.
  @inlinable @inline(__always)
  static func bucket(_ word: UInt) -> Bucket<Key, Value> {
    // Never zero: see `make`.
    Bucket(UnsafeMutableRawPointer(bitPattern: word & (1 << addressBits &- 1)).unsafelyUnwrapped)
  }

  /// Whether a bucket of a slot with this word may have an entry with this tag.
  @inlinable @inline(__always)
  static func mayHold(_ tag: UInt8, _ word: UInt) -> Bool {
    word &>> (addressBits &+ UInt(tag & 15)) & 1 != 0
  }

  /// The first bucket of a slot, for a reader. Acquire: what a slot points to was written before it
  /// was published.
  @inlinable @inline(__always)
  func load(_ index: UInt) -> Bucket<Key, Value> {
    Self.bucket(slot(index).pointee.load(ordering: .acquiring))
  }

  /// The first bucket of a slot, under the slot's lock.
  @inlinable
  func head(_ index: UInt) -> Bucket<Key, Value> { Self.bucket(slot(index).pointee.load(ordering: .relaxed)) }

  /// Makes a chain of buckets that of a slot, under the slot's lock. Release: a reader that finds
  /// the chain finds what is in it.
  @inlinable
  func publish(_ head: Bucket<Key, Value>, in index: UInt) {
    let address = UInt(bitPattern: head.base)
    precondition(address >> Self.addressBits == 0, "RCUDictionary: an address of more than 48 bits")
    slot(index).pointee.store(address | head.tagsOfChain << Self.addressBits, ordering: .releasing)
  }

  // MARK: - Making and freeing

  /// A directory whose slots are empty.
  @inlinable
  static func make(depth: Int) -> Directory {
    let count = 1 << depth
    let directory = Directory(DirectoryMemory.allocate(32 + count * MemoryLayout<Slot>.stride))
    directory.base.initializeMemory(as: UInt.self, to: UInt(count - 1))
    (directory.base + 8).initializeMemory(as: Int.self, to: depth)
    directory.empty.initializeHead(depth: depth, next: nil)
    let empty = UInt(bitPattern: directory.empty.base)
    precondition(empty >> addressBits == 0, "RCUDictionary: an address of more than 48 bits")
    for index in 0..<UInt(count) { directory.slot(index).initialize(to: Atomic(empty)) }
    return directory
  }

  /// Gives the memory of the directory back; the buckets are in another one.
  @inlinable
  func free() { base.deallocate() }

  /// Frees the directory and the buckets.
  @inlinable
  func freeAll() {
    for index in (0..<UInt(slotCount)).reversed() {
      let head = head(index)
      // A bucket of d bits is in every slot with the same d bits. The first of them is the last one
      // here: it frees the bucket, and no slot that is left leads there.
      if head != empty && index >> UInt(head.depth) == 0 { head.freeChain() }
    }
    free()
  }
}

@usableFromInline
enum DirectoryMemory {
  /// Memory for a directory. A large one is on huge pages where the system has some: lookups at
  /// random slots of small pages would miss the processor's table of pages as well as its caches.
  @usableFromInline
  static func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let page = 1 << 21
    if byteCount < page { return .allocate(byteCount: byteCount, alignment: 64) }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: page)
    // A wish: where it is refused, lookups are slower. Whole pages of the directory's own alone.
    _ = madvise(memory, byteCount & ~(page - 1), MADV_HUGEPAGE)
    return memory
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
