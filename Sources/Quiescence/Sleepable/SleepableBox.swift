/// A published value that is read in the sections of a ``SleepableDomain``: what ``RCUBox`` is to a flavor.
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
/// A version that was replaced is destroyed after a grace period of the domain, on the thread `rcu-sleepable`. The box
/// keeps what it needs of the domain alive.
///
/// Source: Linux `srcu_dereference()`.
public struct SleepableBox<Value: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked: the value behind the pointer is Sendable and changes by publication alone.
  /// 16 bytes, which with those of the pointer are a cache line: see ``PublishedPointer``.
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
    retire(published.load())
  }

  private func retire(_ pointer: UnsafeMutablePointer<Value>) {
    domain.core.enqueue(Callback(destroyingVersion: pointer))
  }
}

// MARK: - Reading

extension SleepableBox where Value: ~Copyable {
  /// The current version, for as long as `section` is open. Traps when that is a section of another domain.
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
  /// - Complexity: as ``SleepableDomain/read(_:)``. Any thread.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try domain.read { _ throws(Failure) in
      try body(published.load().pointee)
    }
  }

  /// Lends the current version to `body`, inside one section, which goes on while `body` is suspended.
  @inlinable @inline(__always)
  public nonisolated(nonsending) borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: nonisolated(nonsending) (borrowing Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let section = SleepableSection(entering: domain)
    defer { _ = section }
    return try await body(published.load().pointee)
  }
}

extension SleepableBox {
  /// A copy of the current version, to keep or to carry out of the section.
  @inlinable @inline(__always)
  public borrowing func snapshot() -> Value { read { value in copy value } }

  /// Copies the current version, lets `change` change the copy, and publishes it.
  ///
  /// Nothing is published when `change` throws. Updates take turns; none is lost. `change` runs under the box's lock: it
  /// must neither write to the same box, which traps, nor wait for a grace period.
  ///
  /// - Complexity: a copy of the value, one allocation, the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try published.update(change) { retire($0) }
  }
}

// MARK: - Writing

extension SleepableBox where Value: ~Copyable {
  /// Replaces the value; the old one is destroyed after a grace period.
  ///
  /// - Complexity: one allocation, the box's lock and the domain's. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func publish(_ value: consuming Value) {
    retire(published.exchange(value))
  }

  /// Replaces the value, suspends until nobody can be reading the old one, and gives that back.
  public borrowing func exchange(_ value: consuming Value) async -> Value {
    let old = published.exchange(value)
    await domain.synchronize()
    return Version.take(old)
  }
}
