extension RCUDictionary {
  /// Inserts `value`, or replaces what is there, and returns that.
  ///
  /// - Complexity: O(1), amortized; copies a bucket of up to 7 entries. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside the closure of an ``update(_:_:)`` of the
  ///   same dictionary.
  @inlinable
  @discardableResult
  public borrowing func updateValue(_ value: consuming Value, forKey key: Key) -> Value? {
    let (old, edit) = replaceOrInsert(value, forKey: key)
    retireOld(of: edit)
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
    let (old, edit) = takeOut(key)
    retireOld(of: edit)
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
