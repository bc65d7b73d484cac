public import Quiescence
public import Synchronization

extension RCUDictionary {
  /// Calls `body` with each entry, inside one read-side critical section. In no order; see contract
  /// G.
  ///
  /// - Complexity: O(slots + n); no lock. Nothing that is retired meanwhile is freed before the
  ///   end.
  /// - Threads: any; under `QSBR` only online.
  @inlinable
  public borrowing func forEach<Failure: Error>(
    _ body: (borrowing Key, borrowing Value) throws(Failure) -> Void
  ) throws(Failure) {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    var walk = Walk(Directory(current.load(ordering: .acquiring)), seed)
    while walk.next() { try body(walk.bucket.key(walk.index).pointee, walk.bucket.value(walk.index).pointee) }
  }

  /// A way through all entries, for as long as `section` is open. In no order; see contract G.
  ///
  /// ```swift
  /// let ages = RCUDictionary<String, Int, Memb>(["Ada": 36])
  /// Memb.read { section in
  ///   var entries = ages.entries(section)
  ///   while let entry = entries.next() {
  ///     if entry.value < 18 { ages.removeValue(forKey: entry.key) }
  ///   }
  /// }
  /// ```
  ///
  /// - Complexity: one load.
  /// - Threads: the section's.
  @inlinable
  @_lifetime(borrow section)
  public borrowing func entries(_ section: borrowing ReadSection<F>) -> Entries {
    let entries = Entries(Walk(Directory(current.load(ordering: .acquiring)), seed))
    return _overrideLifetime(entries, borrowing: section)
  }

  /// A copy of all entries, by one iteration: see contract G.
  ///
  /// - Complexity: O(slots + n), and copies of keys and values. Threads: as ``forEach(_:)``.
  @inlinable
  public borrowing func snapshot() -> [Key: Value] {
    var result: [Key: Value] = [:]
    result.reserveCapacity(count)
    forEach { key, value in result[copy key] = copy value }
    return result
  }

  /// The entries of a dictionary, one after the other. See ``entries(_:)``.
  public struct Entries: ~Escapable {
    @usableFromInline
    var walk: Walk

    @inlinable
    @_lifetime(immortal)
    init(_ walk: Walk) {
      self.walk = walk
    }

    /// The next entry; nil at the end.
    ///
    /// - Complexity: O(1), amortized.
    @inlinable
    @_lifetime(self: copy self)
    @_lifetime(copy self)
    public mutating func next() -> Entry? {
      guard walk.next() else { return nil }
      let entry = Entry(walk.bucket, walk.index)
      return _overrideLifetime(entry, copying: self)
    }
  }

  /// A key and its value, in place, for as long as the section is open.
  public struct Entry: ~Escapable {
    @usableFromInline
    let bucket: Bucket
    @usableFromInline
    let index: Int

    @inlinable
    @_lifetime(immortal)
    init(_ bucket: Bucket, _ index: Int) {
      self.bucket = bucket
      self.index = index
    }

    /// The key.
    @inlinable
    public var key: Key {
      unsafeAddress { UnsafePointer(bucket.key(index)) }
    }

    /// The value, which another thread may have replaced meanwhile.
    @inlinable
    public var value: Value {
      unsafeAddress { UnsafePointer(bucket.value(index)) }
    }
  }

  /// Where an iteration is. Inside a section.
  @usableFromInline
  struct Walk {
    @usableFromInline
    let directory: Directory
    @usableFromInline
    let seed: Int
    @usableFromInline
    var slot: UInt = 0
    @usableFromInline
    var bucket: Bucket
    @usableFromInline
    var index = -1

    @inlinable
    init(_ directory: Directory, _ seed: Int) {
      self.directory = directory
      self.seed = seed
      bucket = directory.load(0)
    }

    /// False at the end.
    ///
    /// One directory from beginning to end, so that each hash has one slot. A bucket that is in
    /// several of its slots gives in each those entries that belong there: it may be divided before
    /// the walk comes to the next one, which then leads to the other part alone.
    @inlinable
    mutating func next() -> Bool {
      while true {
        index += 1
        if index < bucket.count {
          if bucket.depth >= directory.depth { return true }
          if UInt(bitPattern: bucket.key(index).pointee._rawHashValue(seed: seed)) & directory.mask == slot {
            return true
          }
        } else if let next = bucket.next.pointee.load(ordering: .acquiring) {
          bucket = Bucket(next)
          index = -1
        } else {
          if slot == directory.mask { return false }
          slot += 1
          bucket = directory.load(slot)
          index = -1
        }
      }
    }
  }
}
