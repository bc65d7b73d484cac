public import Quiescence
public import Synchronization

extension RCUDictionary {
  /// Inserts `value`, or replaces what is there, and returns that.
  ///
  /// - Complexity: O(1), amortized; copies a bucket of up to 7 entries. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside the closure of an ``update(_:_:)`` of the
  ///   same dictionary.
  @inlinable
  @discardableResult
  public borrowing func updateValue(_ value: consuming Value, forKey key: Key) -> Value? {
    var edit = beginEdit(hash(of: key))
    var old: Value?
    if let place = locate(key, in: edit) {
      old = place.bucket.value(place.index).pointee
      replace(place, by: value, &edit)
    } else {
      insert(key, value, &edit)
    }
    endEdit(edit)
    return old
  }

  /// Inserts `value` unless there is a value of `key` already. Returns whether it did, and the
  /// value that is there.
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``; when there is one, it allocates nothing.
  /// - Threads: as ``updateValue(_:forKey:)``.
  @inlinable
  @discardableResult
  public borrowing func insert(
    _ value: consuming Value, forKey key: Key
  ) -> (inserted: Bool, valueAfterInsert: Value) {
    var edit = beginEdit(hash(of: key))
    if let place = locate(key, in: edit) {
      let present = place.bucket.value(place.index).pointee
      endEdit(edit)
      return (false, present)
    }
    insert(key, copy value, &edit)
    endEdit(edit)
    return (true, value)
  }

  /// Replaces the value of `key` and returns the old one; does nothing when there is none.
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``. Threads: as that.
  @inlinable
  @discardableResult
  public borrowing func replaceValue(_ value: consuming Value, forKey key: Key) -> Value? {
    var edit = beginEdit(hash(of: key))
    var old: Value?
    if let place = locate(key, in: edit) {
      old = place.bucket.value(place.index).pointee
      replace(place, by: value, &edit)
    }
    endEdit(edit)
    return old
  }

  /// Removes the value of `key` and returns it; nil when there is none.
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``. Threads: as that.
  @inlinable
  @discardableResult
  public borrowing func removeValue(forKey key: Key) -> Value? {
    var edit = beginEdit(hash(of: key))
    var old: Value?
    if let place = locate(key, in: edit) {
      old = place.bucket.value(place.index).pointee
      remove(place, &edit)
    }
    endEdit(edit)
    return old
  }

  /// Removes the value of `key` if `condition` holds for it, and returns it.
  ///
  /// `condition` runs under a lock of the dictionary, once, while the value is current: no thread
  /// replaces it in between.
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``. Threads: as ``update(_:_:)``, whose rules for the
  ///   closure hold.
  @inlinable
  @discardableResult
  public borrowing func removeValue<Failure: Error>(
    forKey key: Key, where condition: (borrowing Value) throws(Failure) -> Bool
  ) throws(Failure) -> Value? {
    var edit = beginEdit(hash(of: key))
    guard let place = locate(key, in: edit) else {
      endEdit(edit)
      return nil
    }
    let old = place.bucket.value(place.index).pointee
    let holds: Bool
    stripes.beginClosure(edit.stripe)
    do throws(Failure) {
      holds = try condition(old)
    } catch {
      stripes.endClosure(edit.stripe)
      endEdit(edit)
      throw error
    }
    stripes.endClosure(edit.stripe)
    if holds { remove(place, &edit) }
    endEdit(edit)
    return holds ? old : nil
  }

  /// Copies the value of `key`, lets `change` change the copy, and publishes it. Returns nil when
  /// there is none.
  ///
  /// Updates of one key take turns; none is lost. Nothing is published when `change` throws.
  /// `change` runs once, under a lock of the dictionary. It must neither write to the same
  /// dictionary, which traps, nor wait for a grace period: a writer inside a section may be waiting
  /// for the lock.
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``, and a copy of the value.
  /// - Threads: any, also inside a section.
  @inlinable
  @discardableResult
  public borrowing func update<Result, Failure: Error>(
    _ key: Key, _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    var edit = beginEdit(hash(of: key))
    guard let place = locate(key, in: edit) else {
      endEdit(edit)
      return nil
    }
    var value = place.bucket.value(place.index).pointee
    let result = try runClosure(change, on: &value, under: edit)
    replace(place, by: value, &edit)
    endEdit(edit)
    return result
  }

  /// As ``update(_:_:)``, and inserts what `change` makes of `defaultValue` when there is no value
  /// of `key`.
  ///
  /// ```swift
  /// let seen = RCUDictionary<String, Int, Memb>()
  /// seen.update("a", default: 0) { $0 += 1 }
  /// ```
  ///
  /// - Complexity: as ``update(_:_:)``. Threads: as that.
  @inlinable
  @discardableResult
  public borrowing func update<Result, Failure: Error>(
    _ key: Key, default defaultValue: consuming Value, _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    var edit = beginEdit(hash(of: key))
    let place = locate(key, in: edit)
    var value = defaultValue
    if let place { value = place.bucket.value(place.index).pointee }
    let result = try runClosure(change, on: &value, under: edit)
    if let place { replace(place, by: value, &edit) } else { insert(key, value, &edit) }
    endEdit(edit)
    return result
  }

  /// Runs `change` as a closure of the user; gives the lock back when it throws.
  @inlinable
  borrowing func runClosure<Result, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result, on value: inout Value, under edit: Edit
  ) throws(Failure) -> Result {
    stripes.beginClosure(edit.stripe)
    do throws(Failure) {
      let result = try change(&value)
      stripes.endClosure(edit.stripe)
      return result
    } catch {
      stripes.endClosure(edit.stripe)
      endEdit(edit)
      throw error
    }
  }
}

// MARK: - One write

extension RCUDictionary {
  /// A write under way: its lock is taken, and its slot's buckets belong to no other slot.
  @usableFromInline
  struct Edit {
    @usableFromInline
    let directory: Directory
    @usableFromInline
    let hash: UInt
    @usableFromInline
    let stripe: Int
    /// Of the directory, which another thread may replace and free when the lock is given back.
    @usableFromInline
    let slotCount: Int
    /// What it has taken out, to be retired without the lock.
    @usableFromInline
    var oldBucket: UnsafeMutableRawPointer?
    @usableFromInline
    var oldChain: UnsafeMutableRawPointer?
    /// Entries more.
    @usableFromInline
    var change = 0

    @inlinable
    init(_ directory: Directory, _ hash: UInt, stripe: Int) {
      self.directory = directory
      self.hash = hash
      self.stripe = stripe
      slotCount = directory.slotCount
    }

    @inlinable
    var slot: UInt { hash & directory.mask }
  }

  /// Where an entry is.
  @usableFromInline
  struct Place {
    @usableFromInline
    let bucket: Bucket
    @usableFromInline
    let index: Int
    /// The bucket of the same slot that leads to it; nil when the slot does.
    @usableFromInline
    let previous: Bucket?

    @inlinable
    init(_ bucket: Bucket, _ index: Int, after previous: Bucket?) {
      self.bucket = bucket
      self.index = index
      self.previous = previous
    }
  }

  @inlinable
  borrowing func beginEdit(_ hash: UInt) -> Edit {
    let stripe = Stripes.index(of: hash)
    stripes.take(stripe)
    // Relaxed: a thread that replaces the directory has all locks.
    var edit = Edit(Directory(current.load(ordering: .relaxed)), hash, stripe: stripe)
    let head = edit.directory.head(edit.slot)
    if head != edit.directory.empty, head.depth < edit.directory.depth { divide(head, &edit) }
    return edit
  }

  @inlinable
  borrowing func endEdit(_ edit: Edit) {
    unlock(edit)
    // Without the lock: a full backlog may make the caller wait for readers, and a reader for the
    // lock.
    if let bucket = edit.oldBucket { retirer.retire(bucket, by: BucketReclaimer<Key, Value>.self) }
    if let chain = edit.oldChain { retirer.retire(chain, by: ChainReclaimer<Key, Value>.self) }
    if let (directory, reclaimer) = resizeIfNeeded(after: edit) { retirer.retire(directory, by: reclaimer) }
  }

  /// Publishes the number of entries, and gives the lock back.
  @inlinable
  borrowing func unlock(_ edit: Edit) {
    if edit.change != 0 { stripes.add(edit.change, edit.stripe) }
    stripes.give(edit.stripe)
  }

  /// Grows or shrinks the directory where the change made it too full or too sparse. Returns what
  /// has to be retired then.
  @inlinable
  borrowing func resizeIfNeeded(
    after edit: Edit
  ) -> (UnsafeMutableRawPointer, any Reclaimable.Type)? {
    if edit.change > 0 {
      if let old = growIfNeeded(edit.slotCount, edit.stripe) {
        return (old, DirectoryReclaimer<Key, Value>.self)
      }
    } else if edit.change < 0 {
      if let old = shrinkIfNeeded(edit.slotCount, edit.stripe) {
        return (old, JoinedReclaimer<Key, Value>.self)
      }
    }
    return nil
  }

  @inlinable
  borrowing func locate(_ key: Key, in edit: Edit) -> Place? {
    let tag = Bucket.tag(of: edit.hash)
    var previous: Bucket?
    var bucket = edit.directory.head(edit.slot)
    while true {
      var candidates = Bucket.candidates(bucket.tags, tag)
      while candidates != 0 {
        let index = candidates.trailingZeroBitCount &>> 3
        if bucket.key(index).pointee == key { return Place(bucket, index, after: previous) }
        candidates &= candidates &- 1
      }
      guard let next = bucket.following else { return nil }
      previous = bucket
      bucket = next
    }
  }

  /// Makes `new` follow `previous`, or be the first of the slot. Release: a reader that finds it
  /// finds what is in it.
  @inlinable
  borrowing func publish(_ new: Bucket?, after previous: Bucket?, _ edit: Edit) {
    if let previous {
      previous.next.pointee.store(new?.base, ordering: .releasing)
    } else {
      edit.directory.publish(new ?? edit.directory.empty, in: edit.slot)
    }
  }

  /// Adds an entry whose key is not there.
  @inlinable
  borrowing func insert(_ key: Key, _ value: consuming Value, _ edit: inout Edit) {
    let head = edit.directory.head(edit.slot)
    let isEmpty = head == edit.directory.empty
    let new: Bucket
    if isEmpty || head.count == Bucket.capacity {
      // In front of the full one, which stays.
      new = Bucket.make(1, depth: edit.directory.depth, next: isEmpty ? nil : head.base)
    } else {
      new = Bucket.make(head.count + 1, depth: head.depth, next: head.following?.base)
      new.append(contentsOf: head)
      edit.oldBucket = head.base
    }
    new.append(key, value, tag: Bucket.tag(of: edit.hash))
    publish(new, after: nil, edit)
    edit.change = 1
  }

  /// One store, so that a lookup finds the old value or the new one.
  @inlinable
  borrowing func replace(_ place: Place, by value: consuming Value, _ edit: inout Edit) {
    let old = place.bucket
    let new = Bucket.make(old.count, depth: old.depth, next: old.following?.base)
    new.append(contentsOf: old, without: place.index)
    new.append(old.key(place.index).pointee, value, tag: Bucket.tag(of: edit.hash))
    publish(new, after: place.previous, edit)
    edit.oldBucket = old.base
  }

  @inlinable
  borrowing func remove(_ place: Place, _ edit: inout Edit) {
    let old = place.bucket
    var new = old.following
    if old.count > 1 {
      new = Bucket.make(old.count - 1, depth: old.depth, next: new?.base)
      new?.append(contentsOf: old, without: place.index)
    }
    publish(new, after: place.previous, edit)
    edit.oldBucket = old.base
    edit.change = -1
  }
}
