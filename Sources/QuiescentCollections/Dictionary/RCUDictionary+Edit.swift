public import Quiescence
public import Synchronization

/// One write: what every operation that changes the dictionary consists of.
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

  /// Gives the lock back, so that the caller can suspend before it retires what the edit took out:
  /// the thread that resumes is another one.
  @inlinable
  borrowing func replaceOrInsert(_ value: consuming Value, forKey key: Key) -> (Value?, Edit) {
    var edit = beginEdit(hash(of: key))
    var old: Value?
    if let place = locate(key, in: edit) {
      old = place.bucket.value(place.index).pointee
      replace(place, by: value, &edit)
    } else {
      insert(key, value, &edit)
    }
    unlock(edit)
    return (old, edit)
  }

  /// As ``replaceOrInsert(_:forKey:)``.
  @inlinable
  borrowing func takeOut(_ key: Key) -> (Value?, Edit) {
    var edit = beginEdit(hash(of: key))
    var old: Value?
    if let place = locate(key, in: edit) {
      old = place.bucket.value(place.index).pointee
      remove(place, &edit)
    }
    unlock(edit)
    return (old, edit)
  }

  @inlinable
  borrowing func endEdit(_ edit: Edit) {
    unlock(edit)
    retireOld(of: edit)
  }

  /// Without the lock: a full backlog may make the caller wait for readers, and a reader for the
  /// lock.
  @inlinable
  borrowing func retireOld(of edit: Edit) {
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
