extension RCUBox where Value: ~Copyable {
  /// Replaces the value. The old one is destroyed after a grace period; ``exchange(_:)`` gives it
  /// back.
  ///
  /// - Complexity: one allocation and the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside a closure that the same thread runs under
  ///   the lock.
  public borrowing func publish(_ value: consuming Value) {
    protection.retire(published.exchange(value))
  }

  /// Replaces the value and gives the old one back, which readers may still be using.
  ///
  /// Dropping the result destroys the old value after a grace period; `Retired.take()` waits
  /// for it.
  ///
  /// - Complexity: one allocation and the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside a closure that the same thread runs under
  ///   the lock.
  @discardableResult
  public borrowing func exchange(_ value: consuming Value) -> Retired<Value> {
    Retired(published.exchange(value), protection)
  }

  /// `exchange(_:)` that runs `step` in the middle of the publication, before and after the pointer
  /// is stored.
  package borrowing func exchange(_ value: consuming Value, step: () -> Void) -> Retired<Value> {
    Retired(published.exchange(value, step: step), protection)
  }

  /// Publishes what `make` makes of the current version, and gives the old one back.
  ///
  /// ``update(_:)`` for values that cannot be copied. Nothing is published when `make` throws.
  /// `make` runs once, under the box's lock: what it reads is not replaced meanwhile. It must
  /// neither write to the same box, which traps, nor wait for a grace period: a writer inside a
  /// section may be waiting for the lock.
  ///
  /// - Complexity: as ``update(_:)``.
  /// - Threads: any, also inside a section.
  @discardableResult
  public borrowing func replace<Failure: Error>(
    _ make: (borrowing Value) throws(Failure) -> Value
  ) throws(Failure) -> Retired<Value> {
    Retired(try published.replace(make), protection)
  }

  /// Publishes `new` if `expected` is still the current version.
  ///
  /// `expected` is what the section or the online reader loaded: a version, not a value that
  /// happens to be equal. A version of another box is refused. A version cannot come back under the
  /// same address meanwhile (the ABA problem): the section that `expected` belongs to keeps its
  /// memory from being freed.
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
  /// - Complexity: one load when refused at once; else one allocation and the box's lock. Does not
  ///   wait for readers, but for the closure of an ``update(_:)`` that is under way.
  /// - Threads: any that has a section open. Traps inside a closure that the same thread runs under
  ///   the lock.
  public borrowing func compareExchange(
    _ expected: borrowing Borrowed<Value>, with new: consuming Value
  ) -> CompareExchangeOutcome {
    switch published.compareExchange(expected.pointer, with: new) {
    case .exchanged(let old): .exchanged(Retired(old, protection))
    case .refused(let new): .refused(new)
    }
  }

  /// The result of ``compareExchange(_:with:)``. Each value is in one place: none is lost.
  public enum CompareExchangeOutcome: ~Copyable, Sendable {
    /// The new value is published; here is the one it replaced.
    case exchanged(Retired<Value>)

    /// Another version was current, and still is; here is the new value back.
    case refused(Value)

    /// Whether the new value was published.
    public var isExchanged: Bool {
      switch self {
      case .exchanged: true
      case .refused: false
      }
    }
  }
}
