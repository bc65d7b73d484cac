public import _QuiescenceShims

/// A published value: readers borrow it without contention, writers replace it.
///
/// ```swift
/// let routes = RCUBox(RoutingTable())
/// routes.read { table in table.lookup(address) }
/// routes.update { table in table.insert(route) }
/// ```
///
/// Readers see one whole version, the old or the new. A version that was replaced is destroyed after
/// a grace period, on the flavor's reclaimer thread. Writers take turns under a lock of the box.
///
/// | to write | when |
/// |---|---|
/// | ``update(_:)`` | the new value comes from the old one, quickly |
/// | ``updateRetrying(_:)-(_)`` | as above, but it takes long, waits, or writes to boxes |
/// | ``exchange(_:)`` | the new value is there already |
/// | ``replace(_:)`` | as `update`, for values that cannot be copied |
/// | ``compareExchange(_:with:)`` | the new value is there, and is right for one version only |
///
/// A box is 64 bytes, a cache line, and its lock another 64: an update writes to the line that readers load once, where
/// it publishes, and to no line of a neighboring box. Each version is an allocation of its own, 96 bytes larger than the
/// value for the same reason.
///
/// A box lends parts of itself to readers by ``map(_:)-(KeyPath<Value,Field>)``, and gives a reader a copy of its own by
/// ``cached(_:)``.
///
/// Source: Documentation/RCU/whatisRCU.rst; liburcu, `urcu/pointer.h`.
public struct RCUBox<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked: the value behind the pointer is Sendable and changes by publication alone.
  /// Fills the box up to a cache line: see ``PublishedPointer``.
  private let padding: (UInt, UInt) = (0, 0)

  @usableFromInline
  let published: PublishedPointer<Value>

  /// Publishes `value` under the flavor `F`.
  ///
  /// - Complexity: one allocation, as for every version, and one for the lock.
  public init(_ value: consuming Value, flavor: F.Type) {
    published = PublishedPointer(value)
  }

  deinit {
    // No reader can load from the box any more, but a section that has loaded may be open.
    Self.retire(published.load())
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
    return try body(published.load().pointee)
  }

  /// The current version, for as long as `section` is open.
  ///
  /// Loading twice in one section may give two versions; each stays valid.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing ReadSection<F>) -> Borrowed<Value> {
    let borrowed = Borrowed(unsafe: UnsafePointer(published.load()))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  static func retire(_ pointer: UnsafeMutablePointer<Value>) {
    F.enqueue(Callback(destroyingVersion: pointer))
  }
}

extension RCUBox where F == Memb, Value: ~Copyable {
  /// Publishes `value` under the default flavor.
  public init(_ value: consuming Value) {
    self.init(value, flavor: Memb.self)
  }
}

extension RCUBox where F == QSBR, Value: ~Copyable {
  /// Lends the current version to `body`, as the general form does, at the cost of a load.
  ///
  /// - Complexity: O(1); no allocation, no lock, no reference counting, no call.
  /// - Threads: any that is online; others trap.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let outside = qs_qsbr_enter_from()
    // A thread that is online through other code is online as well.
    if outside == 0 && !qs_qsbr_is_online() { Misuse.qsbrReadOffline() }
    defer { qs_qsbr_leave_to(outside) }
    return try body(published.load().pointee)
  }

  /// The current version, until `reader` next says that it is quiescent.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow reader)
  public borrowing func load(_ reader: borrowing OnlineReader) -> Borrowed<Value> {
    let borrowed = Borrowed(unsafe: UnsafePointer(published.load()))
    return _overrideLifetime(borrowed, borrowing: reader)
  }
}

extension RCUBox: RCUCell {}
