extension RCUBox where Value: ~Copyable {
  /// Replaces the value and gives the old one back, which readers may still be using.
  ///
  /// Dropping the result destroys the old value after a grace period; ``Retired/take()-(_)`` waits for it.
  ///
  /// - Complexity: one allocation and the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside a closure that the same thread runs under the lock.
  @discardableResult
  public borrowing func exchange(_ value: consuming Value) -> Retired<Value, F> {
    let new = Self.allocate(value)
    turn.take()
    defer { turn.give() }
    return Retired(publish(new))
  }

  /// `exchange(_:)` that runs `step` before and after the pointer is stored, in the middle of the publication.
  package borrowing func exchange(_ value: consuming Value, step: () -> Void) -> Retired<Value, F> {
    let new = Self.allocate(value)
    turn.take()
    defer { turn.give() }
    return Retired(publish(new, step: step))
  }

  /// Publishes what `make` makes of the current version, and gives the old one back.
  ///
  /// ``update(_:)`` for values that cannot be copied. Nothing is published when `make` throws. `make` runs
  /// once, under the box's lock: what it reads is not replaced meanwhile. It must neither write to the same
  /// box, which traps, nor wait for a grace period: a writer inside a section may be waiting for the lock.
  ///
  /// - Complexity: as ``update(_:)``.
  /// - Threads: any, also inside a section.
  @discardableResult
  public borrowing func replace<Failure: Error>(
    _ make: (borrowing Value) throws(Failure) -> Value
  ) throws(Failure) -> Retired<Value, F> {
    turn.takeForClosure()
    defer { turn.give() }
    let new: UnsafeMutablePointer<Value>
    do throws(Failure) {
      // Only writers change the pointer, and this one has their turn: no section needed.
      new = Self.allocate(try make(current.load(ordering: .relaxed).unsafelyUnwrapped.pointee))
    } catch {
      turn.closureEnded()
      throw error
    }
    turn.closureEnded()
    return Retired(publish(new))
  }

  /// Publishes `new` if `expected` is still the current version.
  ///
  /// `expected` is what the section or the online reader loaded: a version, not a value that happens to be
  /// equal. A version of another box is refused. A version cannot come back under the same address meanwhile
  /// (the ABA problem): the section that `expected` belongs to keeps its memory from being freed.
  ///
  /// ```swift
  /// Memb.read { section in
  ///   let seen = routes.load(section)
  ///   switch routes.compareExchange(seen, with: seen.value.adding(route)) {
  ///   case .exchanged(let old): _ = old          // goes after a grace period
  ///   case .refused(let new): retryLater(new)
  ///   }
  /// }
  /// ```
  ///
  /// - Complexity: one load when refused at once; else one allocation and the box's lock. Does not wait for
  ///   readers, but for the closure of an ``update(_:)`` that is under way.
  /// - Threads: any that has a section open. Traps inside a closure that the same thread runs under the lock.
  public borrowing func compareExchange(
    _ expected: borrowing Borrowed<Value>, with new: consuming Value
  ) -> CompareExchangeOutcome<Value, F> {
    // The lock, not a compare-and-swap of the pointer: that one could replace the version which an `update`
    // under way has just copied, and the update's store would lose what was published in between.
    let expected = UnsafeMutablePointer(mutating: expected.pointer)
    // Relaxed: addresses are compared and nothing behind them is read.
    if current.load(ordering: .relaxed) != expected { return .refused(new) }
    let pointer = Self.allocate(new)
    turn.take()
    guard current.load(ordering: .relaxed) == expected else {
      turn.give()
      let new = pointer.move()
      pointer.deallocate()
      return .refused(new)
    }
    let old = publish(pointer)
    turn.give()
    return .exchanged(Retired(old))
  }

  /// Makes `new` the current version and returns the one before. The caller has the turn.
  @inline(__always)
  borrowing func publish(
    _ new: UnsafeMutablePointer<Value>, step: () -> Void = {}
  ) -> UnsafeMutablePointer<Value> {
    // For ``Cached``, which takes an even number to mean "the version with this number, or a later one".
    // Odd first: between the pointer and the last store a reader of the box sees the new version already, and
    // a cache that still found the old number would give that reader's thread the old version afterwards.
    // Even last: a cache that found the new number before the pointer would copy the old version under the
    // new number, and keep it for good.
    let number = publications.load(ordering: .relaxed)
    publications.store(number &+ 1, ordering: .relaxed)
    step()
    let old = current.load(ordering: .relaxed).unsafelyUnwrapped
    // Release: a reader that sees the pointer sees what it points to, and the odd number.
    current.store(new, ordering: .releasing)
    step()
    // Release: a cache that sees the even number sees the pointer.
    publications.store(number &+ 2, ordering: .releasing)
    return old
  }
}
