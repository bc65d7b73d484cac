public import Synchronization

/// One reader's own copy of what a cell holds, renewed when the box has a new version.
///
/// ```swift
/// RCUBox(100).lend { limit in
///   var cached = limit.cached()
///   for _ in 0..<10 { cached.read { print($0) } }
/// }
/// ```
///
/// A read that finds the box unchanged touches nothing but its own copy and one number of the box:
/// it opens no section, under every flavor. It is never staler than a read of the box: whatever a
/// thread has read or published, and has told this one about, is seen here.
///
/// It belongs to one reader, cannot be sent or shared, and cannot outlive the box. Between reads it
/// keeps the version's parts alive that the copy refers to.
///
/// Source: the idea is arc-swap's `Cache`, which compares pointers and holds a count on the version
/// so that its address cannot come back. Nothing is held here; the number never comes back.
public struct Cached<Root: ~Copyable & Sendable, Value: Sendable, F: Flavor>: ~Copyable, ~Escapable {
  @usableFromInline
  let source: Projection<Root, Value, F>

  /// Even, and not above the number of the version that ``value`` is from.
  @usableFromInline
  var number: UInt

  @usableFromInline
  var value: Value

  @inlinable
  @_lifetime(copy source)
  init(_ source: Projection<Root, Value, F>) {
    (number, value) = Self.copy(source)
    self.source = source
  }

  /// Lends the copy to `body`, after renewing it if the box has a newer version.
  ///
  /// - Complexity: one load and a compare when nothing was published since; else a read and a copy.
  /// - Threads: any, one at a time; under `QSBR` only online.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    renewIfNeeded()
    return try body(value)
  }

  /// A copy of the current value.
  ///
  /// - Complexity: as ``read(_:)``, and a copy of the value.
  /// - Threads: as ``read(_:)``.
  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  public mutating func snapshot() -> Value {
    renewIfNeeded()
    return value
  }

  @inlinable @inline(__always)
  @_lifetime(self: copy self)
  mutating func renewIfNeeded() {
    // Relaxed: behind a number that has not changed there is nothing new to read, and a publication
    // that happened before this read is seen in any order. `copy` loads the number again, with
    // acquire.
    if _slowPath(source.box.pointee.published.publications.load(ordering: .relaxed) != number) { renew() }
  }

  @inlinable @inline(never)
  @_lifetime(self: copy self)
  mutating func renew() {
    (number, value) = Self.copy(source)
  }

  @inlinable
  static func copy(_ source: borrowing Projection<Root, Value, F>) -> (UInt, Value) {
    // The number first, with acquire: the version is then that one or a later one. The other way
    // round, a publication in between would give the old value the new number, and it would be kept
    // for good.
    let number = source.box.pointee.published.publications.load(ordering: .acquiring)
    // An odd number is a publication under way, and the value may be the one before it. The even
    // number below has passed already and never comes again, so that the next read looks once more.
    return (number & ~1, source.snapshot())
  }
}

extension Projection where Root: ~Copyable, Value: Copyable {
  /// A reader with its own copy of the part, which it renews when the box has a new version.
  ///
  /// What `map`'s function makes is made once a version.
  ///
  /// - Complexity: one read and one copy.
  /// - Threads: as ``read(_:)``.
  @inlinable
  @_lifetime(copy self)
  public func cached() -> Cached<Root, Value, F> {
    Cached(self)
  }
}

extension RCUBox {
  /// A reader with its own copy of the value, which it renews when the box has a new version.
  ///
  /// For a value that is read very often on one thread and is cheap to copy. A box in a local
  /// variable or in a field of a class gives caches inside ``lend(_:)``. The parameter does
  /// nothing: with it Swift 6.3 sees that a local box is moved away under its cache, and without it
  /// does not.
  ///
  /// - Complexity: one read and one copy.
  /// - Threads: as ``read(_:)``.
  @inlinable
  @_lifetime(borrow self)
  public borrowing func cached(_: Void = ()) -> Cached<Value, Value, F> {
    Cached(Projection(self, offset: 0))
  }
}
