public import Synchronization

extension RCUDictionary {
  /// Makes room for so many entries, so that the directory does not grow before, and does not
  /// shrink below it later.
  ///
  /// - Complexity: as a growth when there is less room now; see ``RCUDictionary``. Threads: as
  ///   ``updateValue(_:forKey:)``.
  @inlinable
  public borrowing func reserveCapacity(_ minimumCapacity: Int) {
    let depth = Self.depth(for: minimumCapacity)
    stripes.takeAll()
    leastDepth.store(max(depth, leastDepth.load(ordering: .relaxed)), ordering: .relaxed)
    let old = Directory(current.load(ordering: .relaxed))
    // Under the locks: another thread may free the directory later.
    let grows = old.depth < depth
    if grows { grow(old, to: depth) }
    stripes.giveAll()
    if grows { retirer.retire(old.base, by: DirectoryReclaimer<Key, Value>.self) }
  }

  /// Removes all entries at one moment. Lookups and iterations that have begun may find what was
  /// there.
  ///
  /// - Complexity: the time of an allocation under all locks; the entries are destroyed after a
  ///   grace period.
  /// - Threads: as ``updateValue(_:forKey:)``.
  @inlinable
  public borrowing func removeAll(keepingCapacity keepCapacity: Bool = false) {
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    if !keepCapacity { leastDepth.store(Stripes.depth, ordering: .relaxed) }
    let new = Directory.make(depth: keepCapacity ? old.depth : Stripes.depth)
    for index in 0..<Stripes.count { stripes.stripes[index].count.store(0, ordering: .relaxed) }
    current.store(new.base, ordering: .releasing)
    stripes.giveAll()
    retirer.retire(old.base, by: TableReclaimer<Key, Value>.self)
  }

  // MARK: - By itself

  /// After an insertion, with no lock. Returns a directory that was replaced. The stripe's own
  /// number first: the sum is a look at sixteen cache lines.
  @inlinable
  borrowing func growIfNeeded(_ slots: Int, _ stripe: Int) -> UnsafeMutableRawPointer? {
    if _slowPath(
      stripes.stripes[stripe].count.load(ordering: .relaxed) > slots &* Self.maximumLoad / Stripes.count)
    {
      return growIfFull(slots)
    }
    return nil
  }

  /// After a removal, with no lock. Returns a directory that was replaced.
  @inlinable
  borrowing func shrinkIfNeeded(_ slots: Int, _ stripe: Int) -> UnsafeMutableRawPointer? {
    if slots > Stripes.count
      && stripes.stripes[stripe].count.load(ordering: .relaxed) < slots &* Self.maximumLoad
        / (8 * Stripes.count)
    {
      return shrinkIfSparse(slots)
    }
    return nil
  }

  @inlinable @inline(never)
  borrowing func growIfFull(_ slots: Int) -> UnsafeMutableRawPointer? {
    if stripes.total <= slots * Self.maximumLoad { return nil }
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    // Another writer may have come first.
    let isNeeded = stripes.total > old.slotCount * Self.maximumLoad
    if isNeeded { grow(old, to: old.depth + 1) }
    stripes.giveAll()
    return isNeeded ? old.base : nil
  }

  @inlinable @inline(never)
  borrowing func shrinkIfSparse(_ slots: Int) -> UnsafeMutableRawPointer? {
    if stripes.total * 8 >= slots * Self.maximumLoad { return nil }
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    // An eighth: half the directory is then a quarter full, and does not grow again at once.
    let isNeeded =
      stripes.total * 8 < old.slotCount * Self.maximumLoad && old.depth > leastDepth.load(ordering: .relaxed)
    if isNeeded { shrink(old) }
    stripes.giveAll()
    return isNeeded ? old.base : nil
  }

  // MARK: - Under all locks

  /// Publishes a larger directory with the same buckets, each in the slots of all hashes that come
  /// to it.
  ///
  /// A lookup that has the old directory goes on in it. Its slots lead where they led at this
  /// moment, since writers write to the new one from now on, and a lookup may take effect at any
  /// moment since its call.
  @inlinable
  borrowing func grow(_ old: Directory, to depth: Int) {
    let new = Directory.make(depth: depth)
    for index in 0..<UInt(new.slotCount) {
      // With the bits of its tags, which are those of both halves.
      let word = old.slot(index & old.mask).pointee.load(ordering: .relaxed)
      if Directory.bucket(word) != old.empty { new.slot(index).pointee.store(word, ordering: .relaxed) }
    }
    current.store(new.base, ordering: .releasing)
  }

  /// Publishes a directory of half the size, with the buckets of two slots joined.
  @inlinable
  borrowing func shrink(_ old: Directory) {
    let new = Directory.make(depth: old.depth - 1)
    for index in 0..<UInt(new.slotCount) {
      let heads = (old.head(index), old.head(index + UInt(new.slotCount)))
      if heads.0 == heads.1 {
        // One bucket that was not divided since the directory grew, or none.
        if heads.0 != old.empty { new.publish(heads.0, in: index) }
        continue
      }
      // Copies also of a bucket that is alone: its depth changes, and it is read meanwhile.
      var chain: Bucket?
      for head in [heads.0, heads.1] where head != old.empty {
        var bucket: Bucket? = head
        while let current = bucket {
          for entry in 0..<current.count { Self.add(entry, of: current, to: &chain, depth: new.depth) }
          bucket = current.following
        }
      }
      if let chain { new.publish(chain, in: index) }
    }
    current.store(new.base, ordering: .releasing)
  }

  // MARK: - Under the slot's lock

  /// Divides a chain of buckets that is in several slots, so that each slot has its own. All slots
  /// of it have one lock.
  @inlinable @inline(never)
  borrowing func divide(_ head: Bucket, _ edit: inout Edit) {
    let directory = edit.directory
    let first = edit.slot & (1 << UInt(head.depth) - 1)
    var slot = first
    while slot < UInt(directory.slotCount) {
      var chain: Bucket?
      var bucket: Bucket? = head
      while let current = bucket {
        for entry in 0..<current.count
        where hash(of: current.key(entry).pointee) & directory.mask == slot {
          Self.add(entry, of: current, to: &chain, depth: directory.depth)
        }
        bucket = current.following
      }
      // A lookup finds the same entries in either.
      directory.publish(chain ?? directory.empty, in: slot)
      slot += 1 << UInt(head.depth)
    }
    edit.oldChain = head.base
  }

  /// Adds a copy of an entry to a chain that no other thread sees.
  @inlinable
  static func add(_ entry: Int, of bucket: Bucket, to chain: inout Bucket?, depth: Int) {
    let target: Bucket
    if let chain, chain.count < Bucket.capacity {
      target = chain
    } else {
      target = Bucket.make(Bucket.capacity, depth: depth, next: chain?.base)
      chain = target
    }
    target.append(
      bucket.key(entry).pointee, bucket.value(entry).pointee,
      tag: UInt8(truncatingIfNeeded: bucket.tags >> UInt64(8 * entry)))
  }
}
