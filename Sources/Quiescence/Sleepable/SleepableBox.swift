public import Synchronization

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
  // Unchecked for the pointer only: the value behind it is Sendable and changes by publication alone.
  @usableFromInline
  let current: Atomic<UnsafeMutablePointer<Value>?>

  @usableFromInline
  let domain: SleepableDomain

  private let turn = WriterTurn()

  /// Publishes `value` to the sections of `domain`.
  ///
  /// - Complexity: one allocation, as for every version.
  public init(_ value: consuming Value, in domain: borrowing SleepableDomain) {
    current = Atomic(Self.allocate(value))
    self.domain = SleepableDomain(sharing: domain)
  }

  deinit {
    // Nobody can read through the box any more, but a section that borrowed may be open.
    retire(current.load(ordering: .acquiring).unsafelyUnwrapped)
  }

  private static func allocate(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    return pointer
  }

  private func retire(_ pointer: UnsafeMutablePointer<Value>) {
    domain.core.enqueue(Callback(destroying: pointer))
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
    let borrowed = Borrowed(unsafe: UnsafePointer(current.load(ordering: .acquiring).unsafelyUnwrapped))
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
      try body(current.load(ordering: .acquiring).unsafelyUnwrapped.pointee)
    }
  }

  /// Lends the current version to `body`, inside one section, which goes on while `body` is suspended.
  @inlinable @inline(__always)
  public nonisolated(nonsending) borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: nonisolated(nonsending) (borrowing Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    let section = SleepableSection(entering: domain)
    defer { _ = section }
    return try await body(current.load(ordering: .acquiring).unsafelyUnwrapped.pointee)
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
    turn.takeForClosure()
    let new = Self.allocate(current.load(ordering: .relaxed).unsafelyUnwrapped.pointee)
    let result: Result
    do throws(Failure) {
      result = try change(&new.pointee)
    } catch {
      turn.closureEnded()
      turn.give()
      new.deinitialize(count: 1)
      new.deallocate()
      throw error
    }
    turn.closureEnded()
    let old = current.exchange(new, ordering: .acquiringAndReleasing)
    turn.give()
    retire(old.unsafelyUnwrapped)
    return result
  }
}

// MARK: - Writing

extension SleepableBox where Value: ~Copyable {
  /// Replaces the value; the old one is destroyed after a grace period.
  ///
  /// - Complexity: one allocation, the box's lock and the domain's. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func publish(_ value: consuming Value) {
    retire(replace(value))
  }

  /// Replaces the value, suspends until nobody can be reading the old one, and gives that back.
  public borrowing func exchange(_ value: consuming Value) async -> Value {
    let old = replace(value)
    await domain.synchronize()
    let value = old.move()
    old.deallocate()
    return value
  }

  private borrowing func replace(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let new = Self.allocate(value)
    turn.take()
    // Release: a reader that sees the pointer sees what it points to.
    let old = current.exchange(new, ordering: .acquiringAndReleasing)
    turn.give()
    return old.unsafelyUnwrapped
  }
}
