public import Quiescence
public import Synchronization

/// A dictionary that any number of threads look up in while others change it.
///
/// ```swift
/// let routes = RCUDictionary<String, Int, Memb>()
/// routes["10.0.0.0/8"] = 1
/// routes.read("10.0.0.0/8") { hop in print(hop) }  // in place: no lock, no copy, no retain
/// let hop = routes["10.0.0.0/8"]                          // a copy, to keep
/// Memb.read { section in
///   if let hop = routes.load("10.0.0.0/8", section) { print(hop.value) }
/// }
/// ```
///
/// # What it guarantees
///
/// - **A. Lookups are wait-free.** They take no lock, allocate nothing and count no references,
///   whatever writers do, and also while the dictionary is resized. Each writes to its own thread's
///   memory alone.
/// - **B. Single operations are linearizable.** A lookup, an insertion, a replacement, an update or
///   a removal takes effect at one moment between its call and its return, for all threads. What a
///   thread has written it finds.
/// - **C. A key is there once.** At no moment, and in no iteration, are there two entries of equal
///   keys. Of threads that insert the same key unless it is present, one inserts, and the others
///   get its value; of threads that remove it, one gets the value.
/// - **D. A replacement leaves no gap.** A lookup beside a replacement or an update of its key
///   finds the old value or the new one, never nothing and never a mixture. So does one beside a
///   resize.
/// - **E. What was found stays.** A value that was found in a section stays valid and unchanged to
///   the section's end, whatever becomes of its entry.
/// - **F. What was removed is found no more** by a lookup that begins after the removal has
///   returned. It is destroyed after a grace period, on the reclaimer's thread.
/// - **G. An iteration sees each entry that is there from its beginning to its end exactly once**,
///   and none that was not there at some moment in between. An entry that is inserted or removed
///   meanwhile it may see or not; of an entry that is replaced meanwhile it sees one value. Entries
///   may be removed, also by the thread that iterates. It is no snapshot: of two changes it may see
///   the later one alone.
/// - **H. Writers of different keys seldom wait for each other**, and never for readers. Each takes
///   one of 16 locks; a resize takes all of them.
///
/// # How
///
/// A directory of 2^depth slots points to buckets: a few entries side by side. A bucket is never
/// changed. A writer makes a copy with the entry more, less or replaced, publishes it in the slot,
/// and retires the old one. So a lookup reads two cache lines that may be far away: a slot, and a
/// bucket. A slot also says which hashes are in its buckets, roughly: a lookup of an absent key
/// seldom reads a bucket.
///
/// To grow, a directory twice as large gets the same buckets, each in two slots, and is published:
/// a lookup finds its entry among some more that are not its own. The first writer that comes to
/// such a slot divides the bucket. No lookup waits, looks twice, or goes through two tables. To
/// shrink, buckets are joined.
///
/// | | time | memory |
/// |---|---|---|
/// | lookup | O(1), one hash | |
/// | insertion, removal, replacement | O(1), amortized; copies up to 7 entries | an allocation |
/// | growth | under all locks, a pointer for every slot | 8 bytes a slot |
/// | shrinking | under all locks, O(entries) | as growth, and the joined buckets |
///
/// The hash of a key is the standard library's, seeded by the process: keys that an attacker
/// chooses do not collide more often than others. ``FastHashed`` keys are hashed by one
/// multiplication instead.
///
/// Values are copied when their bucket is: large ones belong in a class. Fork: as for `RCUBox`,
/// the child must not use a dictionary that another thread was writing to.
///
/// Source: the contracts are modeled on liburcu's `urcu/rculfhash.h`; Josh Triplett, Paul McKenney,
/// Jonathan Walpole, "Resizable, Scalable, Concurrent Hash Tables via Relativistic Programming",
/// 2011; Ronald Fagin et al., "Extendible Hashing", 1979, for the buckets that several slots share.
public struct RCUDictionary<Key: Hashable & Sendable, Value: Sendable, F: Flavor>: ~Copyable,
  @unchecked Sendable
{
  // Unchecked for the pointers only: keys and values are Sendable, and what is published does not
  // change.
  @usableFromInline
  let current: Atomic<UnsafeMutableRawPointer>

  @usableFromInline
  let seed: Int

  @usableFromInline
  let stripes: Stripes

  /// No directory of less depth, as ``reserveCapacity(_:)`` wants it. Written under all locks.
  @usableFromInline
  let leastDepth: Atomic<Int>

  @usableFromInline
  let retirer: Retirer<F>

  @usableFromInline
  typealias Directory = QuiescentCollections.Directory<Key, Value>

  @usableFromInline
  typealias Bucket = QuiescentCollections.Bucket<Key, Value>

  /// Makes an empty dictionary.
  ///
  /// - Parameters:
  ///   - minimumCapacity: room for so many entries from the beginning; see ``reserveCapacity(_:)``.
  ///   - flavor: whose sections lookups are in.
  ///   - reclaimer: destroys what was removed or replaced; the flavor's shared one when nil. Traps
  ///     when it is one of another flavor.
  /// - Complexity: about 1.5 KiB, and 8 bytes for every three entries of `minimumCapacity`.
  @inlinable
  public init(minimumCapacity: Int = 0, flavor: F.Type = F.self, reclaimer: RCUReclaimer? = nil) {
    let depth = Self.depth(for: minimumCapacity)
    let directory = Directory.make(depth: depth)
    current = Atomic(directory.base)
    // Another for each dictionary: keys taken out of one in its order would come to the other slot
    // by slot.
    seed = Int(bitPattern: directory.base)
    stripes = Stripes()
    leastDepth = Atomic(depth)
    retirer = Retirer(reclaimer)
  }

  /// Makes a dictionary of the entries of another.
  ///
  /// - Complexity: O(n).
  @inlinable
  public init(_ entries: [Key: Value], flavor: F.Type = F.self, reclaimer: RCUReclaimer? = nil) {
    self.init(minimumCapacity: entries.count, flavor: flavor, reclaimer: reclaimer)
    for (key, value) in entries { updateValue(value, forKey: key) }
  }

  @inlinable
  deinit {
    // A section that borrowed may be open.
    retirer.retire(current.load(ordering: .acquiring), by: TableReclaimer<Key, Value>.self)
    stripes.free()
  }

  /// The slots that hold so many entries: up to ``maximumLoad`` each.
  @inlinable
  static func depth(for capacity: Int) -> Int {
    precondition(capacity >= 0, "RCUDictionary: a negative capacity")
    let slots = (capacity + maximumLoad - 1) / maximumLoad
    return max(Stripes.depth, Int.bitWidth - max(slots - 1, 0).leadingZeroBitCount)
  }

  /// Entries for each slot on average: above, the directory grows.
  @inlinable
  static var maximumLoad: Int { 3 }
}

// MARK: - Looking up

extension RCUDictionary {
  /// Lends the value of `key` to `body`, inside one read-side critical section; nil when there is
  /// none.
  ///
  /// - Complexity: O(1), one hash; no allocation, no lock, no reference counting.
  /// - Threads: any; under `QSBR` only online.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ key: Key, _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    let hash = hash(of: key)
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    guard let value = find(key, hash) else { return nil }
    return try body(value.pointee)
  }

  /// The value of `key`, for as long as `section` is open; nil when there is none.
  ///
  /// - Complexity: O(1), one hash; no allocation, no lock, no reference counting.
  /// - Threads: the section's.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ key: Key, _ section: borrowing ReadSection<F>) -> Borrowed<Value>? {
    guard let value = find(key, hash(of: key)) else { return nil }
    let borrowed = Borrowed(unsafe: UnsafePointer(value))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  /// Whether there is a value of `key`.
  ///
  /// - Complexity: as ``read(_:_:)``. Threads: as that.
  @inlinable @inline(__always)
  public borrowing func contains(_ key: Key) -> Bool {
    read(key) { _ in true } ?? false
  }

  /// A copy of the value of `key`; nil when there is none. Setting it inserts, replaces, or with
  /// nil removes.
  ///
  /// - Complexity: as ``read(_:_:)`` and a copy; as ``updateValue(_:forKey:)`` and
  ///   ``removeValue(forKey:)``.
  /// - Threads: as those.
  @inlinable
  public subscript(key: Key) -> Value? {
    @inline(__always)
    borrowing get { read(key) { value in copy value } }
    nonmutating set {
      if let newValue { updateValue(newValue, forKey: key) } else { removeValue(forKey: key) }
    }
  }

  /// A copy of the value of `key`, or `defaultValue`.
  ///
  /// - Complexity: as ``read(_:_:)`` and a copy. Threads: as that.
  @inlinable
  public subscript(key: Key, default defaultValue: @autoclosure () -> Value) -> Value {
    @inline(__always)
    borrowing get { self[key] ?? defaultValue() }
  }

  /// How many entries there are: exact while no thread writes; beside writers a number that was
  /// right for some of them.
  ///
  /// - Complexity: 16 loads. Any thread.
  @inlinable
  public var count: Int { max(0, stripes.total) }

  /// Whether there are no entries. See ``count``.
  @inlinable
  public var isEmpty: Bool { count == 0 }

  /// How many entries fit before the directory grows.
  ///
  /// - Complexity: two loads in a section. Threads: as ``read(_:_:)``.
  @inlinable
  public var capacity: Int {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    return Directory(current.load(ordering: .acquiring)).slotCount * Self.maximumLoad
  }

  @inlinable @inline(__always)
  borrowing func hash(of key: borrowing Key) -> UInt {
    UInt(bitPattern: key._rawHashValue(seed: seed))
  }

  /// Where the value of `key` is; for the time of a section that the caller is in.
  @inlinable @inline(__always)
  borrowing func find(_ key: borrowing Key, _ hash: UInt) -> UnsafeMutablePointer<Value>? {
    // Acquire, here and below: what a directory, a slot or a bucket points to was written before it
    // was published. No bucket that is reached is freed before the section ends: the writer that
    // takes it out of its slot, or the slot's directory out of `current`, retires it.
    let directory = Directory(current.load(ordering: .acquiring))
    let tag = Bucket.tag(of: hash)
    let word = directory.slot(hash & directory.mask).pointee.load(ordering: .acquiring)
    if !Directory.mayHold(tag, word) { return nil }
    var bucket = Directory.bucket(word)
    while true {
      var candidates = Bucket.candidates(bucket.tags, tag)
      while candidates != 0 {
        let index = candidates.trailingZeroBitCount &>> 3
        if bucket.key(index).pointee == key { return bucket.value(index) }
        candidates &= candidates &- 1
      }
      guard let next = bucket.next.pointee.load(ordering: .acquiring) else { return nil }
      bucket = Bucket(next)
    }
  }
}
