public import Synchronization

/// A published value: readers borrow it without contention, writers replace it.
///
/// ```swift
/// let routes = RCUBox(RoutingTable())
/// routes.read { table in table.lookup(address) }
/// routes.update { table in table.insert(route) }
/// ```
///
/// Readers see one whole version, the old or the new. A version that was replaced is destroyed after
/// a grace period, on the flavour's reclaimer thread. Writers take turns under a lock of the box.
///
/// Source: Documentation/RCU/whatisRCU.rst; liburcu, `urcu/pointer.h`.
public struct RCUBox<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: the value behind it is Sendable and changes by publication alone.
  /// Never nil; the optional spares the read path a check for that.
  @usableFromInline
  let current: Atomic<UnsafeMutablePointer<Value>?>

  private let writers = Mutex<Void>(())

  /// Publishes `value` under the flavour `F`.
  ///
  /// - Complexity: one allocation, as for every version.
  public init(_ value: consuming Value, flavor: F.Type) {
    current = Atomic(Self.allocate(value))
  }

  deinit {
    // Nobody can read through the box any more, but a section that borrowed may be open.
    Self.retire(current.load(ordering: .acquiring).unsafelyUnwrapped)
  }

  /// Lends the current version to `body`, inside one read-side critical section.
  ///
  /// - Complexity: O(1); no allocation, no lock, no reference counting, no call.
  /// - Threads: any; under `QSBR` only online.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    F.unsafeEnter()
    defer { F.unsafeLeave() }
    // Acquire: the version's contents were written before it was published. The pointer stays
    // valid to the end of the section, since a writer frees it only after a grace period.
    return try body(current.load(ordering: .acquiring).unsafelyUnwrapped.pointee)
  }

  /// The current version, for as long as `section` is open.
  ///
  /// Loading twice in one section may give two versions; each stays valid.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing ReadSection<F>) -> Borrowed<Value> {
    let borrowed = Borrowed(
      unsafe: UnsafePointer(current.load(ordering: .acquiring).unsafelyUnwrapped))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  /// Replaces the value and gives the old one back, which readers may still be using.
  ///
  /// Dropping the result destroys the old value after a grace period; ``Retired/take()`` waits for it.
  ///
  /// - Complexity: one allocation and the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  @discardableResult
  public borrowing func exchange(_ value: consuming Value) -> Retired<Value, F> {
    let new = Self.allocate(value)
    return Retired(replace(with: new))
  }

  private borrowing func replace(
    with new: UnsafeMutablePointer<Value>
  ) -> UnsafeMutablePointer<Value> {
    writers._unsafeLock()
    defer { writers._unsafeUnlock() }
    // Release publishes the contents; acquire, to read the old value afterwards.
    return current.exchange(new, ordering: .acquiringAndReleasing).unsafelyUnwrapped
  }

  static func allocate(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    return pointer
  }

  static func retire(_ pointer: UnsafeMutablePointer<Value>) {
    F.enqueue(Callback(destroying: pointer))
  }
}

extension RCUBox where F == Memb, Value: ~Copyable {
  /// Publishes `value` under the default flavour.
  public init(_ value: consuming Value) {
    self.init(value, flavor: Memb.self)
  }
}

extension RCUBox where F == QSBR, Value: ~Copyable {
  /// The current version, until `reader` next says that it is quiescent.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow reader)
  public borrowing func load(_ reader: borrowing OnlineReader) -> Borrowed<Value> {
    let borrowed = Borrowed(
      unsafe: UnsafePointer(current.load(ordering: .acquiring).unsafelyUnwrapped))
    return _overrideLifetime(borrowed, borrowing: reader)
  }
}

extension RCUBox {
  /// A copy of the current version, to keep or to carry across an `await`.
  ///
  /// - Complexity: one section and one copy of the value.
  public borrowing func snapshot() -> Value {
    read { value in copy value }
  }

  /// Copies the current version, lets `change` change the copy, and publishes it.
  ///
  /// Nothing is published when `change` throws. Updates take turns; none is lost. `change` must not
  /// write to the same box: it would wait for itself.
  ///
  /// - Complexity: a copy of the value, one allocation, the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    writers._unsafeLock()
    defer { writers._unsafeUnlock() }
    // Only writers change the pointer, and this one holds their lock: no section needed.
    let old = current.load(ordering: .acquiring).unsafelyUnwrapped
    var new = old.pointee
    let result = try change(&new)
    // Release: a reader that sees the pointer sees what it points to.
    current.store(Self.allocate(new), ordering: .releasing)
    Self.retire(old)
    return result
  }
}
