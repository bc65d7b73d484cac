public import Quiescence

/// An atomic pointer to a node that is read in the sections of a `SleepableDomain`: what
/// ``RCUPointer`` is to a flavor.
///
/// ```swift
/// let domain = SleepableDomain("sessions")
/// let newest = SleepablePointer("first", in: domain)
/// await domain.read { section in
///   let name = newest.load(section)
///   await Task.yield()
///   print(name?.value ?? "none")
/// }
/// ```
///
/// A node that was replaced or unlinked is destroyed after a grace period of the domain, on the
/// thread `rcu-sleepable`.
///
/// Source: Linux `srcu_dereference()`.
public struct SleepablePointer<Value: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: the value behind it is Sendable and changes by publication
  // alone.
  @usableFromInline
  let link: Link<Value>

  @usableFromInline
  let domain: SleepableDomain

  /// A pointer to nothing.
  @inlinable
  public init(in domain: borrowing SleepableDomain) {
    link = Link(nil)
    self.domain = SleepableDomain(sharing: domain)
  }

  /// A pointer to a new node with `value`.
  ///
  /// - Complexity: one allocation, as for every node.
  @inlinable
  public init(_ value: consuming Value, in domain: borrowing SleepableDomain) {
    let node = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    node.initialize(to: value)
    link = Link(node)
    self.domain = SleepableDomain(sharing: domain)
  }

  @inlinable
  deinit {
    // A section that borrowed may be open.
    if let node = link.owned() { domain.unsafeRetire(node, by: ValueReclaimer<Value>.self) }
  }
}

extension SleepablePointer where Value: ~Copyable {
  /// The node, for as long as `section` is open; nil when there is none. Traps when that is a
  /// section of another domain.
  ///
  /// - Complexity: one load and one comparison.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing SleepableSection) -> Borrowed<Value>? {
    if !domain.protects(section) { CollectionMisuse.otherDomain() }
    guard let node = link.load() else { return nil }
    let borrowed = Borrowed(unsafe: UnsafePointer(node))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  /// Replaces the node, whatever it is; the old one is destroyed after a grace period of the
  /// domain.
  ///
  /// - Complexity: one allocation, an atomic instruction, and the domain's lock. Does not wait for
  ///   readers.
  /// - Threads: any, also inside a section. Traps as ``RCUPointer/publish(_:)`` does.
  @inlinable
  public borrowing func publish(_ value: consuming Value) {
    retire(link.exchange(allocate(value)))
  }

  /// Publishes `value` where there is nothing; returns it when there is a node already.
  ///
  /// - Complexity: as ``publish(_:)``.
  /// - Threads: any, also inside a section.
  @inlinable
  public borrowing func fill(_ value: consuming Value) -> Value? {
    if link.load() != nil { return value }
    let new = allocate(value)
    if link.compareExchange(nil, with: new) { return nil }
    return takeBack(new)
  }

  /// Publishes `new` if `expected` is still the node here, and returns nil; else returns `new`. See
  /// ``RCUPointer/compareExchange(_:with:)``. The old node is destroyed after a grace period of the
  /// domain.
  ///
  /// - Complexity: as ``publish(_:)``.
  /// - Threads: any that has a section open.
  @inlinable
  public borrowing func compareExchange(
    _ expected: borrowing Borrowed<Value>, with new: consuming Value
  ) -> Value? {
    let expected = expected.pointer
    let pointer = allocate(new)
    guard link.compareExchange(expected, with: pointer) else { return takeBack(pointer) }
    retire(UnsafeMutablePointer(mutating: expected))
    return nil
  }

  /// Takes `expected` out if it is still the node here. Of several threads one gets true; the node
  /// is destroyed after a grace period of the domain.
  ///
  /// - Complexity: an atomic instruction and the domain's lock.
  /// - Threads: any that has a section open.
  @inlinable
  @discardableResult
  public borrowing func unlink(_ expected: borrowing Borrowed<Value>) -> Bool {
    guard link.compareExchange(expected.pointer, with: nil) else { return false }
    retire(UnsafeMutablePointer(mutating: expected.pointer))
    return true
  }

  /// Takes `expected` out if it is still the node here, and puts what `successor`, a pointer of
  /// that node, points to in its place: see ``RCUPointer/unlink(_:joining:)``. Of several threads
  /// one gets true.
  ///
  /// - Complexity: two atomic instructions and the domain's lock.
  /// - Threads: any that has a section open.
  @inlinable
  @discardableResult
  public borrowing func unlink(
    _ expected: borrowing Borrowed<Value>, joining successor: borrowing SleepablePointer
  ) -> Bool {
    guard link.compareExchange(expected.pointer, joining: successor.link) else { return false }
    retire(UnsafeMutablePointer(mutating: expected.pointer))
    return true
  }

  /// Takes the node out, suspends until no section can be reading it, and gives it back; nil when
  /// there was none.
  ///
  /// - Threads: any task; outside the sections of the domain, where it would wait for itself.
  @inlinable
  public nonisolated(nonsending) borrowing func take() async -> Value? {
    guard let old = link.exchange(nil) else { return nil }
    await domain.synchronize()
    return takeBack(old)
  }

  @inlinable
  borrowing func retire(_ node: UnsafeMutablePointer<Value>?) {
    if let node { domain.unsafeRetire(node, by: ValueReclaimer<Value>.self) }
  }

  @inlinable
  borrowing func allocate(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let node = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    node.initialize(to: value)
    return node
  }

  @inlinable
  borrowing func takeBack(_ pointer: UnsafeMutablePointer<Value>) -> Value {
    let value = pointer.move()
    pointer.deallocate()
    return value
  }
}
