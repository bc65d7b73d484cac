import Quiescence
import TestSupport

@testable import QuiescentCollections

/// The steps that a resize takes by itself.
extension RCUDictionary {
  borrowing func growForTest() {
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    grow(old, to: old.depth + 1)
    stripes.giveAll()
    retirer.retire(old.base, by: DirectoryReclaimer<Key, Value>.self)
  }

  borrowing func shrinkForTest() {
    while true {
      stripes.takeAll()
      let old = Directory(current.load(ordering: .relaxed))
      let isLarge = old.depth > Stripes.depth
      if isLarge { shrink(old) }
      stripes.giveAll()
      if !isLarge { return }
      retirer.retire(old.base, by: JoinedReclaimer<Key, Value>.self)
    }
  }
}

/// Operations with one rule broken each. The contract that each breaks is in CONTRACTS.md.
extension RCUDictionary {
  /// As `grow`, with the new directory published first.
  borrowing func growTooEarly() {
    stripes.takeAll()
    let old = Directory(current.load(ordering: .relaxed))
    let new = Directory.make(depth: old.depth + 1)
    current.store(new.base, ordering: .releasing)
    for index in 0..<UInt(new.slotCount) {
      let head = old.head(index & old.mask)
      if head != old.empty { new.publish(head, in: index) }
    }
    stripes.giveAll()
    retirer.retire(old.base, by: DirectoryReclaimer<Key, Value>.self)
  }

  /// A lookup under the lock that writers take.
  borrowing func containsUnderLock(_ key: Key) -> Bool {
    let stripe = Stripes.index(of: hash(of: key))
    stripes.take(stripe)
    defer { stripes.give(stripe) }
    return contains(key)
  }

  /// An iteration that keeps writers out.
  borrowing func countUnderLocks() -> Int {
    stripes.takeAll()
    defer { stripes.giveAll() }
    var count = 0
    forEach { _, _ in count += 1 }
    return count
  }

  /// A write under all locks instead of one.
  borrowing func updateValueUnderAllLocks(_ value: Value, forKey key: Key) {
    stripes.takeAll()
    stripes.giveAll()
    updateValue(value, forKey: key)
  }

  /// A lookup in a directory that was loaded before.
  borrowing func contains(_ key: Key, in directory: Directory) -> Bool {
    let hash = hash(of: key)
    var bucket: Bucket? = directory.load(hash & directory.mask)
    while let current = bucket {
      for index in 0..<current.count where current.key(index).pointee == key { return true }
      bucket = current.following
    }
    return false
  }

  /// An insertion that does not look whether the key is there.
  borrowing func insertWithoutLooking(_ value: Value, forKey key: Key) {
    var edit = beginEdit(hash(of: key))
    insert(key, value, &edit)
    endEdit(edit)
  }

  /// A replacement that frees the old bucket at once, without a grace period.
  borrowing func updateValueAndFreeAtOnce(_ value: Value, forKey key: Key) {
    var edit = beginEdit(hash(of: key))
    guard let place = locate(key, in: edit) else { return endEdit(edit) }
    replace(place, by: value, &edit)
    let old = edit.oldBucket
    edit.oldBucket = nil
    endEdit(edit)
    if let old { BucketReclaimer<Key, Value>.reclaim(old) }
  }

  /// A removal that frees the old bucket at once, without a grace period.
  borrowing func removeValueAndFreeAtOnce(forKey key: Key) {
    if let old = removeValueAndKeepIt(forKey: key) { BucketReclaimer<Key, Value>.reclaim(old) }
  }

  /// A removal that never frees the old bucket. Returns the bucket.
  borrowing func removeValueAndKeepIt(forKey key: Key) -> UnsafeMutableRawPointer? {
    var edit = beginEdit(hash(of: key))
    guard let place = locate(key, in: edit) else {
      endEdit(edit)
      return nil
    }
    remove(place, &edit)
    let old = edit.oldBucket
    edit.oldBucket = nil
    endEdit(edit)
    return old
  }
}

extension DictionaryContractTests.Table {
  borrowing func keysWithoutFilter(_ middle: () -> Void) -> [Int] {
    keys(middle) { _, _, _ in true }
  }

  borrowing func keysByFirstSlot(_ middle: () -> Void) -> [Int] {
    keys(middle) { _, bucket, slot in slot >> UInt(bucket.depth) == 0 }
  }

  private borrowing func keys(
    _ middle: () -> Void, where isTaken: (Directory, Bucket, UInt) -> Bool
  ) -> [Int] {
    var keys: [Int] = []
    let half = count / 2
    Memb.read { _ in
      let directory = Directory(current.load(ordering: .acquiring))
      for slot in 0..<UInt(directory.slotCount) {
        var bucket: Bucket? = directory.load(slot)
        while let now = bucket {
          if isTaken(directory, now, slot) {
            for index in 0..<now.count {
              keys.append(now.key(index).pointee.base)
              if keys.count == half { middle() }
            }
          }
          bucket = now.following
        }
      }
    }
    return keys
  }

  /// An iteration that goes on in the newest directory: what moves to a slot behind is seen again.
  borrowing func keysInTheNewestDirectory(_ middle: () -> Void) -> [Int] {
    var keys: [Int] = []
    let half = count / 2
    Memb.read { _ in
      var slot: UInt = 0
      while true {
        let directory = Directory(current.load(ordering: .acquiring))
        if slot > directory.mask { return }
        var bucket: Bucket? = directory.load(slot)
        while let now = bucket {
          for index in 0..<now.count {
            let key = now.key(index).pointee
            if hash(of: key) & directory.mask != slot { continue }
            keys.append(key.base)
            if keys.count == half { middle() }
          }
          bucket = now.following
        }
        slot += 1
      }
    }
    return keys
  }
}
