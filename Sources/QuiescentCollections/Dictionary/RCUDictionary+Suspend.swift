/// Writes of tasks. The ones of `RCUDictionary+Write.swift` block the thread where the reclaimer is
/// full; these suspend the task instead.
extension RCUDictionary {
  /// As ``updateValue(_:forKey:)``. Where the reclaimer is full, whatever its policy, the task
  /// suspends until there is room: a producer that is faster than the grace periods waits, and no
  /// thread of the pool is blocked.
  ///
  /// The value is published before the task suspends. The wait is not cancelled with the task.
  ///
  /// ```swift
  /// let sessions = RCUDictionary<Int, String, Memb>(
  ///   reclaimer: RCUReclaimer(named: "sessions", Memb.self, limit: RetireLimit(10_000, .wait)))
  /// func open(_ id: Int) async { await sessions.updateValueSuspending("open", forKey: id) }
  /// ```
  ///
  /// - Complexity: as ``updateValue(_:forKey:)``; where it suspends, a lock and a resumption each
  ///   time room comes.
  /// - Threads: any task, outside sections of a `SleepableDomain` and outside the closure of an
  ///   ``update(_:_:)``.
  @inlinable
  @discardableResult
  public nonisolated(nonsending) borrowing func updateValueSuspending(
    _ value: consuming Value, forKey key: Key
  ) async -> Value? {
    let (old, edit) = replaceOrInsert(value, forKey: key)
    await retireOldSuspending(of: edit)
    return old
  }

  /// As ``removeValue(forKey:)``. Where the reclaimer is full, the task suspends as in
  /// ``updateValueSuspending(_:forKey:)``.
  ///
  /// - Complexity: as ``removeValue(forKey:)``. Threads: as ``updateValueSuspending(_:forKey:)``.
  @inlinable
  @discardableResult
  public nonisolated(nonsending) borrowing func removeValueSuspending(forKey key: Key) async -> Value? {
    let (old, edit) = takeOut(key)
    await retireOldSuspending(of: edit)
    return old
  }

  @inlinable
  nonisolated(nonsending) borrowing func retireOldSuspending(of edit: Edit) async {
    if let bucket = edit.oldBucket {
      await retirer.retireSuspending(bucket, by: BucketReclaimer<Key, Value>.self)
    }
    if let chain = edit.oldChain {
      await retirer.retireSuspending(chain, by: ChainReclaimer<Key, Value>.self)
    }
    if let (directory, reclaimer) = resizeIfNeeded(after: edit) {
      await retirer.retireSuspending(directory, by: reclaimer)
    }
  }
}
