public import Quiescence
public import Synchronization

/// A few entries side by side, and where the next bucket of the same slot is. Published whole; what
/// is in it never changes.
///
/// Layout: seven tags of entries and the depth, a byte each; the next bucket; the entries.
///
/// A tag is seven bits of the entry's hash below a set bit, so that a word of them is compared at
/// once and an unused one, zero, never matches. The depth says how many bits of a hash all entries
/// have in common: with fewer than the directory has, the bucket is in several slots of it. See
/// ``RCUDictionary``.
@usableFromInline
struct Bucket<Key: Hashable, Value>: Equatable {
  @usableFromInline
  let base: UnsafeMutableRawPointer

  @inlinable @inline(__always)
  init(_ base: UnsafeMutableRawPointer) {
    self.base = base
  }

  /// Entries of one bucket.
  @inlinable
  static var capacity: Int { 7 }

  /// The head that a directory has for its empty slots, and that every bucket begins with.
  @inlinable
  static var headSize: Int { 16 }

  // MARK: - Reading

  @inlinable
  var tags: UInt64 {
    @inline(__always)
    get { base.assumingMemoryBound(to: UInt64.self).pointee }
  }

  /// The following bucket of the slot. The one thing that changes.
  @inlinable
  var next: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer?>> {
    @inline(__always)
    get { (base + 8).assumingMemoryBound(to: Atomic<UnsafeMutableRawPointer?>.self) }
  }

  /// The bucket that follows, under the slot's lock or in memory that no other thread sees.
  @inlinable
  var following: Bucket? {
    guard let next = next.pointee.load(ordering: .relaxed) else { return nil }
    return Bucket(next)
  }

  /// What a tag of this hash looks like. The top bits: the lowest ones choose the slot.
  @inlinable @inline(__always)
  static func tag(of hash: UInt) -> UInt8 { UInt8(truncatingIfNeeded: UInt64(hash) >> 57) | 0x80 }

  /// The highest bit of each byte of `tags` that is equal to `tag`, and of some that differ by
  /// their lowest bit: a candidate's key is compared anyway. Never of an unused one or of the
  /// depth, whose highest bits are clear.
  @inlinable @inline(__always)
  static func candidates(_ tags: UInt64, _ tag: UInt8) -> UInt64 {
    let difference = tags ^ (0x0101_0101_0101_0101 &* UInt64(tag))
    return (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
  }

  @inlinable @inline(__always)
  func key(_ index: Int) -> UnsafeMutablePointer<Key> {
    (base + Self.first + index &* Self.stride).assumingMemoryBound(to: Key.self)
  }

  @inlinable @inline(__always)
  func value(_ index: Int) -> UnsafeMutablePointer<Value> {
    (base + Self.first + index &* Self.stride + Self.valueOffset).assumingMemoryBound(to: Value.self)
  }

  @inlinable
  var count: Int { (64 - (tags & 0x00FF_FFFF_FFFF_FFFF).leadingZeroBitCount) / 8 }

  @inlinable
  var depth: Int { Int(tags >> 56) }

  /// A bit for each tag modulo 16 of this bucket and of those that follow.
  @inlinable
  var tagsOfChain: UInt {
    var result: UInt = 0
    var bucket: Bucket? = self
    while let current = bucket {
      var tags = current.tags & 0x00FF_FFFF_FFFF_FFFF
      while tags != 0 {
        result |= 1 << UInt(tags & 15)
        tags >>= 8
      }
      bucket = current.following
    }
    return result
  }

  // MARK: - Layout

  @inlinable @inline(__always)
  static func roundUp(_ size: Int, to alignment: Int) -> Int { (size &+ alignment &- 1) & ~(alignment &- 1) }

  @inlinable
  static var valueOffset: Int {
    @inline(__always) get { roundUp(MemoryLayout<Key>.size, to: MemoryLayout<Value>.alignment) }
  }

  @inlinable
  static var alignment: Int {
    @inline(__always) get { max(MemoryLayout<Key>.alignment, MemoryLayout<Value>.alignment) }
  }

  @inlinable
  static var stride: Int {
    @inline(__always) get { max(1, roundUp(valueOffset &+ MemoryLayout<Value>.size, to: alignment)) }
  }

  @inlinable
  static var first: Int {
    @inline(__always) get { roundUp(headSize, to: alignment) }
  }

  // MARK: - Making and freeing

  /// A bucket with room for so many entries and none in it.
  @inlinable
  static func make(_ count: Int, depth: Int, next: UnsafeMutableRawPointer?) -> Bucket {
    let bucket = Bucket(
      .allocate(byteCount: first + count * stride, alignment: max(alignment, 16)))
    bucket.initializeHead(depth: depth, next: next)
    return bucket
  }

  @inlinable
  func initializeHead(depth: Int, next: UnsafeMutableRawPointer?) {
    base.initializeMemory(as: UInt64.self, to: UInt64(depth) << 56)
    self.next.initialize(to: Atomic(next))
  }

  /// Adds an entry to a bucket that no other thread sees.
  @inlinable
  func append(_ key: consuming Key, _ value: consuming Value, tag: UInt8) {
    let index = count
    self.key(index).initialize(to: key)
    self.value(index).initialize(to: value)
    base.assumingMemoryBound(to: UInt64.self).pointee |= UInt64(tag) << UInt64(8 * index)
  }

  /// Adds copies of the entries of `other`, all but one, to a bucket that no other thread sees.
  @inlinable
  func append(contentsOf other: Bucket, without left: Int = -1) {
    for index in 0..<other.count where index != left {
      append(
        other.key(index).pointee, other.value(index).pointee,
        tag: UInt8(truncatingIfNeeded: other.tags >> UInt64(8 * index)))
    }
  }

  /// Destroys the entries and gives the memory back.
  @inlinable
  func free() {
    for index in 0..<count {
      key(index).deinitialize(count: 1)
      value(index).deinitialize(count: 1)
    }
    next.deinitialize(count: 1)
    base.deallocate()
  }

  /// Frees this one and all that follow.
  @inlinable
  func freeChain() {
    var bucket: Bucket? = self
    while let current = bucket {
      bucket = current.following
      current.free()
    }
  }
}

/// Frees one bucket that was replaced.
@usableFromInline
enum BucketReclaimer<Key: Hashable, Value>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) { Bucket<Key, Value>(argument).free() }
}

/// Frees all buckets of a slot that were replaced together.
@usableFromInline
enum ChainReclaimer<Key: Hashable, Value>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) { Bucket<Key, Value>(argument).freeChain() }
}
