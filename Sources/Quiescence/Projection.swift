public import Synchronization

/// A part of a box, or what a function makes of it, as a cell of its own: see ``RCUBox/map``.
///
/// Reads go to the box: each sees the version that is current then. A projection cannot outlive its box; the
/// compiler refuses that. Any thread that may read the box may read it.
public struct Projection<Root: ~Copyable & Sendable, Value: ~Copyable & Sendable, F: Flavor>:
  ~Escapable, @unchecked Sendable
{
  // Unchecked for the pointer only: it points to a box, which is Sendable, for as long as this value lives.
  @usableFromInline
  let box: UnsafePointer<RCUBox<Root, F>>

  /// Where the part lies in a version, when `lending` is nil.
  @usableFromInline
  let offset: Int

  /// Calls its second argument once with the part.
  @usableFromInline
  let lending: Lending?

  @usableFromInline
  typealias Lending = @Sendable (borrowing Root, (borrowing Value) -> Void) -> Void

  @inlinable @inline(__always)
  @_lifetime(borrow box)
  init(_ box: borrowing RCUBox<Root, F>) where Root == Value {
    self.box = box.address
    offset = 0
    lending = nil
  }

  @inlinable @inline(__always)
  @_lifetime(copy projector)
  init(_ projector: Projector<Root, F>, offset: Int, lending: Lending?) {
    box = projector.box
    self.offset = offset
    self.lending = lending
  }

  @inlinable @inline(__always)
  @_lifetime(copy other)
  init<Other: ~Copyable & Sendable>(of other: Projection<Root, Other, F>, offset: Int, lending: Lending?) {
    box = other.box
    self.offset = offset
    self.lending = lending
  }

  /// Lends the part of the current version to `body`, inside one read-side critical section.
  ///
  /// - Complexity: as ``RCUBox/read(_:)``, and an addition for a stored property; else a call of the function
  ///   that was given to `map`.
  /// - Threads: as ``RCUBox/read(_:)``.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    F.unsafeEnter()
    defer { F.unsafeLeave() }
    // Acquire: as in the box's own read.
    let root = box.pointee.current.load(ordering: .acquiring).unsafelyUnwrapped
    guard let lending else {
      return try body(
        (UnsafeRawPointer(root) + offset).assumingMemoryBound(to: Value.self).pointee)
    }
    var wasLent = false
    var outcome: Swift.Result<Result, Failure>?
    lending(root.pointee) { part in
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
  /// A property of the part as a cell. See ``Projector``.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: Sendable>(
    _ property: KeyPath<Value, Field> & Sendable
  ) -> Projection<Root, Field, F> {
    if lending == nil, let further = MemoryLayout<Value>.offset(of: property) {
      return Projection<Root, Field, F>(of: self, offset: offset + further, lending: nil)
    }
    return map(lending: { value, lend in lend(value[keyPath: property]) })
  }
}

extension Projection where Root: ~Copyable, Value: ~Copyable {
  /// What `transform` makes of the part, as a cell. See ``Projector``.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: ~Copyable & Sendable>(
    _ transform: @escaping @Sendable (borrowing Value) -> Field
  ) -> Projection<Root, Field, F> {
    map(lending: { value, lend in lend(transform(value)) })
  }

  /// A part of the part as a cell, lent in place. See ``Projector``.
  @inlinable @inline(__always)
  @_lifetime(copy self)
  public func map<Field: ~Copyable & Sendable>(
    lending function: @escaping @Sendable (borrowing Value, (borrowing Field) -> Void) -> Void
  ) -> Projection<Root, Field, F> {
    // Not `self`, which a closure that stays cannot hold.
    guard let first = lending else {
      let offset = offset
      return Projection<Root, Field, F>(of: self, offset: 0) { root, lend in
        withUnsafePointer(to: root) { root in
          function((UnsafeRawPointer(root) + offset).assumingMemoryBound(to: Value.self).pointee, lend)
        }
      }
    }
    return Projection<Root, Field, F>(of: self, offset: 0) { root, lend in
      first(root) { value in function(value, lend) }
    }
  }
}
