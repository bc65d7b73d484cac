/// Makes cells of parts of a box; `box.map` gives one, and it is called as a function: `box.map(\.field)`.
public struct Projector<Root: ~Copyable & Sendable, F: Flavor>: ~Escapable, @unchecked Sendable {
  // Unchecked for the pointer only: it points to a box, which is Sendable, for as long as this value lives.
  @usableFromInline
  let box: UnsafePointer<RCUBox<Root, F>>

  @inlinable @inline(__always)
  @_lifetime(borrow box)
  init(_ box: borrowing RCUBox<Root, F>) {
    self.box = box.address
  }

  /// What `transform` makes of the value, as a cell.
  ///
  /// `transform` runs at every read, inside the section; ``Projection/cached()`` runs it once a version.
  ///
  /// - Complexity: an allocation if `transform` captures something.
  /// - Threads: any. `transform` runs on the reading thread.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func callAsFunction<Field: ~Copyable & Sendable>(
    _ transform: @escaping @Sendable (borrowing Root) -> Field
  ) -> Projection<Root, Field, F> {
    Projection(
      box,
      lending: { version, lend in lend(transform(version.assumingMemoryBound(to: Root.self).pointee)) },
      lifetime: self)
  }

  /// A part of the value as a cell, lent in place: for parts that cannot be copied, or that a function finds.
  ///
  /// ```swift
  /// struct Key: ~Copyable, Sendable { let bits = 7 }
  /// struct Pair: ~Copyable, Sendable { let left = Key(), right = Key() }
  /// let pair = RCUBox(Pair())
  /// let left = pair.map(lending: { pair, lend in lend(pair.left) })
  /// print(left.read { $0.bits })
  /// ```
  ///
  /// `function` calls its second argument once, with the part. A read traps when it does not, or does so twice.
  ///
  /// - Complexity: as with a function that makes the part.
  /// - Threads: any. `function` runs on the reading thread.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func callAsFunction<Field: ~Copyable & Sendable>(
    lending function: @escaping @Sendable (borrowing Root, (borrowing Field) -> Void) -> Void
  ) -> Projection<Root, Field, F> {
    Projection(
      box,
      lending: { version, lend in function(version.assumingMemoryBound(to: Root.self).pointee, lend) },
      lifetime: self)
  }
}

extension Projector {
  /// A property of the value as a cell.
  ///
  /// A stored property is lent in place: no copy, no call. A computed one is computed at every read.
  ///
  /// - Complexity: O(length of the key path), no allocation for a stored property. Best done once.
  /// - Threads: any.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func callAsFunction<Field: Sendable>(
    _ property: KeyPath<Root, Field> & Sendable
  ) -> Projection<Root, Field, F> {
    if let offset = MemoryLayout<Root>.offset(of: property) {
      return Projection(box, offset: offset, lifetime: self)
    }
    return self { value in value[keyPath: property] }
  }
}

extension RCUBox where Value: ~Copyable {
  /// Where the box lies, for as long as something depends on a borrow of it.
  @inlinable
  var address: UnsafePointer<RCUBox> {
    // A box holds atomics, and Swift gives those one address for as long as they are borrowed (Groff,
    // forums.swift.org/t/67350/16), which is longer than this call when the result's lifetime depends on the
    // borrow. Tests look at boxes in locals, captures, globals, structs, classes and optionals.
    @inline(__always)
    borrowing get { withUnsafePointer(to: self) { $0 } }
  }
}
