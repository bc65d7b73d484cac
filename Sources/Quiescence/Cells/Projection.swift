/// A part of a box, or what a function makes of it, as a cell of its own: see
/// `RCUBox.map(_:)`.
///
/// Reads go to the box: each sees the version that is current then. A projection cannot outlive its
/// box; the compiler refuses that. Any thread that may read the box may read it.
public struct Projection<Root: ~Copyable & Sendable, Value: ~Copyable & Sendable, F: Flavor>:
  ~Escapable, @unchecked Sendable
{
  // Unchecked for the pointer only: it points to a box, which is Sendable, for as long as this
  // value lives.
  @usableFromInline
  let box: UnsafePointer<RCUBox<Root, F>>

  /// Where the part lies in a version; negative when a function finds it.
  @usableFromInline
  let offset: Int

  /// Calls its second argument once with the part of the version that its first points to.
  ///
  /// There even when it is not called: taking it out of an optional would retain it at every read.
  @usableFromInline
  let lending: Lending

  @usableFromInline
  typealias Lending = @Sendable (UnsafeRawPointer, (borrowing Value) -> Void) -> Void

  @inlinable @inline(__always)
  @_lifetime(borrow box)
  init(_ box: borrowing RCUBox<Root, F>, offset: Int) {
    self.box = box.address
    self.offset = offset
    lending = { _, _ in }
  }

  @inlinable @inline(__always)
  @_lifetime(borrow box)
  init(_ box: borrowing RCUBox<Root, F>, lending: @escaping Lending) {
    self.box = box.address
    offset = -1
    self.lending = lending
  }

  @inlinable @inline(__always)
  @_lifetime(copy other)
  init<Other: ~Copyable & Sendable>(of other: Projection<Root, Other, F>, offset: Int) {
    box = other.box
    self.offset = offset
    lending = { _, _ in }
  }

  @inlinable @inline(__always)
  @_lifetime(copy other)
  init<Other: ~Copyable & Sendable>(
    of other: Projection<Root, Other, F>, lending: @escaping Lending
  ) {
    box = other.box
    offset = -1
    self.lending = lending
  }

  /// Lends the part of the current version to `body`, inside one read-side critical section.
  ///
  /// - Complexity: as ``RCUBox/read(_:)``, and an addition for a stored property; else a call of
  ///   the function that was given to `map`.
  /// - Threads: as ``RCUBox/read(_:)``.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    let version = box.pointee.published.load()
    if _slowPath(offset < 0) { return try readLent(from: UnsafeRawPointer(version), body) }
    return try body((UnsafeRawPointer(version) + offset).assumingMemoryBound(to: Value.self).pointee)
  }

  /// Beside the way of a read that lends a stored property in place.
  @inlinable
  borrowing func readLent<Result: ~Copyable, Failure: Error>(
    from version: UnsafeRawPointer, _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    var wasLent = false
    var outcome: Swift.Result<Result, Failure>?
    lending(version) { part in
      if wasLent { Misuse.projectionNotLentOnce() }
      wasLent = true
      do throws(Failure) {
        outcome = .success(try body(part))
      } catch {
        outcome = .failure(error)
      }
    }
    switch consume outcome {
    case .some(let outcome): return try outcome.get()
    case .none: Misuse.projectionNotLentOnce()
    }
  }
}

extension Projection: RCUCell where Root: ~Copyable {}

extension Projection where Root: ~Copyable {
  /// A property of the part as a cell. See the box's `map`.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: Sendable>(
    _ property: KeyPath<Value, Field> & Sendable
  ) -> Projection<Root, Field, F> {
    if offset >= 0, let further = MemoryLayout<Value>.offset(of: property) {
      return Projection<Root, Field, F>(of: self, offset: offset + further)
    }
    return map(lending: { value, lend in lend(value[keyPath: property]) })
  }
}

extension Projection where Root: ~Copyable, Value: ~Copyable {
  /// What `transform` makes of the part, as a cell. See the box's `map`.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: ~Copyable & Sendable>(
    _ transform: @escaping @Sendable (borrowing Value) -> Field
  ) -> Projection<Root, Field, F> {
    map(lending: { value, lend in lend(transform(value)) })
  }

  /// A part of the part as a cell, lent in place. See the box's `map`.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: ~Copyable & Sendable>(
    lending function: @escaping @Sendable (borrowing Value, (borrowing Field) -> Void) -> Void
  ) -> Projection<Root, Field, F> {
    // Not `self`, which a closure that stays cannot hold.
    if offset >= 0 {
      let offset = offset
      return Projection<Root, Field, F>(
        of: self,
        lending: { version, lend in
          function((version + offset).assumingMemoryBound(to: Value.self).pointee, lend)
        })
    }
    let first = lending
    return Projection<Root, Field, F>(
      of: self, lending: { version, lend in first(version) { value in function(value, lend) } })
  }
}
