extension RCUBox where Value: Copyable {
  /// A property of the value as a cell.
  ///
  /// ```swift
  /// struct Settings: Sendable { var limits = Limits(), names = ["a"] }
  /// struct Limits: Sendable { var hops = 8 }
  /// RCUBox(Settings()).lend { settings in
  ///   let hops = settings.map(\.limits.hops)
  ///   let isNamed = settings.map { !$0.names.isEmpty }
  ///   print(hops.read { $0 + 1 }, isNamed.snapshot())
  /// }
  /// ```
  ///
  /// A stored property is lent in place: no copy, no call. A computed one is computed at every
  /// read. A box in a local variable or in a field of a class gives cells inside ``lend(_:)``.
  ///
  /// - Complexity: O(length of the key path), no allocation for a stored property. Best done once.
  /// - Threads: any.
  @inlinable @inline(__always)
  @_lifetime(borrow self)
  public borrowing func map<Field: Sendable>(
    _ property: KeyPath<Value, Field> & Sendable
  ) -> Projection<Value, Field, F> {
    if let offset = MemoryLayout<Value>.offset(of: property) {
      return Projection(self, offset: offset)
    }
    return map { value in value[keyPath: property] }
  }
}

extension RCUBox where Value: ~Copyable {
  /// What `transform` makes of the value, as a cell.
  ///
  /// `transform` runs at every read, inside the section; ``Projection/cached()`` runs it once a
  /// version.
  ///
  /// - Complexity: an allocation if `transform` captures something.
  /// - Threads: any. `transform` runs on the reading thread.
  @inlinable @inline(__always)
  @_lifetime(borrow self)
  public borrowing func map<Field: ~Copyable & Sendable>(
    _ transform: @escaping @Sendable (borrowing Value) -> Field
  ) -> Projection<Value, Field, F> {
    Projection(
      self,
      lending: { version, lend in lend(transform(version.assumingMemoryBound(to: Value.self).pointee)) })
  }

  /// A part of the value as a cell, lent in place: for parts that cannot be copied, or that a
  /// function finds.
  ///
  /// ```swift
  /// struct Key: ~Copyable, Sendable { let bits = 7 }
  /// struct Pair: ~Copyable, Sendable { let left = Key(), right = Key() }
  /// RCUBox(Pair()).lend { pair in
  ///   let left = pair.map(lending: { pair, lend in lend(pair.left) })
  ///   print(left.read { $0.bits })
  /// }
  /// ```
  ///
  /// `function` calls its second argument once, with the part. A read traps when it does not, or
  /// does so twice.
  ///
  /// - Complexity: as with a function that makes the part.
  /// - Threads: any. `function` runs on the reading thread.
  @inlinable @inline(__always)
  @_lifetime(borrow self)
  public borrowing func map<Field: ~Copyable & Sendable>(
    lending function: @escaping @Sendable (borrowing Value, (borrowing Field) -> Void) -> Void
  ) -> Projection<Value, Field, F> {
    Projection(
      self,
      lending: { version, lend in function(version.assumingMemoryBound(to: Value.self).pointee, lend) })
  }

  /// Lends the box itself to `body`, where its projections and caches are at home.
  ///
  /// ```swift
  /// final class Server: Sendable { let limit = RCUBox(100) }
  /// let server = Server()
  /// server.limit.lend { limit in
  ///   var cached = limit.cached()
  ///   for _ in 0..<10 { cached.read { print($0) } }
  /// }
  /// ```
  ///
  /// A global box, or one that is a parameter, needs no lending. Swift 6.3 borrows a noncopyable
  /// field of a class for one expression only, and loses sight of a local one where a call may
  /// throw, if only `Never`; it refuses what depends on them. Here the whole call is one borrow,
  /// and nothing can move the box meanwhile.
  ///
  /// - Complexity: none.
  @inlinable @inline(__always)
  public borrowing func lend<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing RCUBox) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(self)
  }

  /// Where the box lies, for as long as something depends on a borrow of it.
  @inlinable
  var address: UnsafePointer<RCUBox> {
    // A box holds atomics, and Swift gives those one address for as long as they are borrowed
    // (Groff, forums.swift.org/t/67350/16), which is longer than this call when the result's
    // lifetime depends on the borrow. Tests look at boxes in locals, captures, globals, structs,
    // classes and optionals.
    @inline(__always)
    borrowing get { withUnsafePointer(to: self) { $0 } }
  }
}
