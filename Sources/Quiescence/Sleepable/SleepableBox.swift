/// A published value that is read in the sections of a ``SleepableDomain``: what ``RCUBox`` is to a
/// flavor.
///
/// ```swift
/// let domain = SleepableDomain("routes")
/// let routes = SleepableBox(["a": 1], in: domain)
/// await routes.read { table in
///   await Task.yield()
///   print(table["a"] ?? 0)
/// }
/// routes.update { $0["b"] = 2 }
/// ```
///
/// A version that was replaced is destroyed after a grace period of the domain, as what is retired
/// in the domain: its ``SleepableDomain/reclaimer`` has the limit and the statistics. The box keeps
/// what it needs of the domain alive.
///
/// Source: Linux `srcu_dereference()`.
public struct SleepableBox<Value: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked: the value behind the pointer is Sendable and changes by publication alone.
  /// With the next two a cache line: see ``PublishedPointer``.
  private let alignment = SIMD2<UInt>(0, 0)

  @usableFromInline
  let domain: SleepableDomain

  @usableFromInline
  let published: PublishedPointer<Value>

  /// Publishes `value` to the sections of `domain`.
  ///
  /// - Complexity: one allocation, as for every version, and one for the lock.
  public init(_ value: consuming Value, in domain: borrowing SleepableDomain) {
    self.domain = SleepableDomain(sharing: domain)
    published = PublishedPointer(value)
  }

  deinit {
    // No reader can load from the box any more, but a section that has loaded may be open.
    protection.retire(published.load())
  }

  private var protection: Protection { .domain(domain.core, domain.reclaimer) }
}

// MARK: - Reading

extension SleepableBox where Value: ~Copyable {
  /// The current version, for as long as `section` is open. Traps when that is a section of another
  /// domain.
  ///
  /// - Complexity: one load and one comparison.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing SleepableSection) -> Borrowed<Value> {
    if section.core.toOpaque() != Unmanaged.passUnretained(domain.core).toOpaque() { Misuse.otherDomain() }
    let borrowed = Borrowed(unsafe: UnsafePointer(published.load()))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  /// Lends the current version to `body`, inside one section.
  ///
  /// - Complexity: as `SleepableDomain.read(_:)`. Any thread.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try domain.read { _ throws(Failure) in
      try body(published.load().pointee)
    }
  }

  /// Lends the current version to `body`, inside one section, which goes on while `body` is
  /// suspended.
  @inlinable @inline(__always)
  public nonisolated(nonsending) borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: nonisolated(nonsending) (borrowing Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let section = SleepableSection(entering: domain)
    defer { _ = section }
    return try await body(published.load().pointee)
  }
}

extension SleepableBox: RCUCell {}

// MARK: - Writing

extension SleepableBox where Value: ~Copyable {
  /// Replaces the value. The old one is destroyed after a grace period; ``exchange(_:)`` gives it
  /// back.
  ///
  /// - Complexity: one allocation, the box's lock and the domain's. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps inside a closure that the same thread runs under
  ///   the lock.
  public borrowing func publish(_ value: consuming Value) {
    protection.retire(published.exchange(value))
  }

  /// Replaces the value and gives the old one back, which readers may still be using. As
  /// ``RCUBox/exchange(_:)``.
  ///
  /// Dropping the result destroys the old value after a grace period; `Retired.take()` waits
  /// for it.
  ///
  /// - Complexity: as ``publish(_:)``.
  /// - Threads: as ``publish(_:)``.
  @discardableResult
  public borrowing func exchange(_ value: consuming Value) -> Retired<Value> {
    Retired(published.exchange(value), protection)
  }

  /// Publishes what `make` makes of the current version, and gives the old one back. As
  /// ``RCUBox/replace(_:)``.
  ///
  /// - Complexity: as ``update(_:)``.
  /// - Threads: any, also inside a section.
  @discardableResult
  public borrowing func replace<Failure: Error>(
    _ make: (borrowing Value) throws(Failure) -> Value
  ) throws(Failure) -> Retired<Value> {
    Retired(try published.replace(make), protection)
  }
}

extension SleepableBox {
  /// Copies the current version, lets `change` change the copy, and publishes it. As
  /// ``RCUBox/update(_:)``.
  ///
  /// Nothing is published when `change` throws. Updates take turns; none is lost. `change` runs
  /// under the box's lock: it must neither write to the same box, which traps, nor wait for a grace
  /// period.
  ///
  /// - Complexity: a copy of the value, one allocation, the box's lock and the domain's. Does not
  ///   wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try published.update(change) { protection.retire($0) }
  }

  /// ``update(_:)`` without the lock while `change` runs, repeated until no other writer has
  /// published meanwhile. As `RCUBox.updateRetrying(_:)`.
  ///
  /// - Complexity: one allocation, a copy of the value and the box's lock twice, for each run of
  ///   `change`.
  /// - Threads: any, also inside a section.
  public borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try published.updateRetrying(change) { protection.retire($0) }
  }

  /// ``updateRetrying(_:)-(_)`` with a `change` that may suspend.
  ///
  /// - Complexity: as without `async`.
  public nonisolated(nonsending) borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: nonisolated(nonsending) (inout Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    try await published.updateRetrying(change) { protection.retire($0) }
  }
}
