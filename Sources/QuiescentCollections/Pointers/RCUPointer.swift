public import Quiescence

/// An atomic pointer to a node, or to nothing: what lists, trees and tables of your own are made
/// of.
///
/// ```swift
/// struct Node: ~Copyable, Sendable {
///   let number: Int
///   let next = RCUPointer<Node, Memb>()
/// }
/// let head = RCUPointer(Node(number: 1), flavor: Memb.self)
/// Memb.read { section in
///   if let first = head.load(section) {
///     if head.compareExchange(first, with: Node(number: 2)).isExchanged { print("replaced") }
///   }
/// }
/// ```
///
/// The pointer owns its node. A node that was replaced or unlinked comes back as a `Retired`,
/// once: to the one thread whose call took it out. It is destroyed after a grace period, and then
/// gives up what its own pointers own in the same way. A chain of n nodes that is dropped at its
/// head goes in n grace periods.
///
/// No operation takes a lock. A pointer is one word.
///
/// | | `RCUBox` | `RCUPointer` |
/// |---|---|---|
/// | holds | always a value | a node or nothing |
/// | writers | take turns; may make the new value from the old one | atomic instructions |
/// | is for | one value that is replaced | nodes that hold pointers to nodes |
///
/// Source: liburcu, `urcu/pointer.h`; the joining of a successor is Timothy Harris, "A Pragmatic
/// Implementation of Non-Blocking Linked-Lists", 2001.
public struct RCUPointer<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: the value behind it is Sendable and changes by publication
  // alone.
  @usableFromInline
  let link: Link<Value>

  /// A pointer to nothing.
  @inlinable
  public init(flavor: F.Type = F.self) {
    link = Link(nil)
  }

  /// A pointer to a new node with `value`.
  ///
  /// - Complexity: one allocation, as for every node.
  @inlinable
  public init(_ value: consuming Value, flavor: F.Type = F.self) {
    link = Link(Self.allocate(value))
  }

  @inlinable
  deinit {
    // A section that borrowed may be open.
    if let node = link.owned() { F.unsafeRetire(node, by: ValueReclaimer<Value>.self) }
  }

  @inlinable
  static func allocate(_ value: consuming Value) -> UnsafeMutablePointer<Value> {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    return pointer
  }
}

// MARK: - Reading

extension RCUPointer where Value: ~Copyable {
  /// The node, for as long as `section` is open; nil when there is none.
  ///
  /// - Complexity: one load.
  /// - Threads: the section's.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func load(_ section: borrowing ReadSection<F>) -> Borrowed<Value>? {
    guard let node = link.load() else { return nil }
    let borrowed = Borrowed(unsafe: UnsafePointer(node))
    return _overrideLifetime(borrowed, borrowing: section)
  }

  /// Whether there is no node now.
  ///
  /// - Complexity: one load. Any thread.
  @inlinable @inline(__always)
  public var isEmpty: Bool { link.load() == nil }
}

extension RCUPointer where F == QSBR, Value: ~Copyable {
  /// The node, until `reader` next says that it is quiescent; nil when there is none.
  ///
  /// - Complexity: one load.
  @inlinable @inline(__always)
  @_lifetime(borrow reader)
  public borrowing func load(_ reader: borrowing OnlineReader) -> Borrowed<Value>? {
    guard let node = link.load() else { return nil }
    let borrowed = Borrowed(unsafe: UnsafePointer(node))
    return _overrideLifetime(borrowed, borrowing: reader)
  }
}

// MARK: - Writing

extension RCUPointer where Value: ~Copyable {
  /// Replaces the node, whatever it is; the old one is destroyed after a grace period.
  ///
  /// Traps when this pointer belongs to a node that was unlinked by ``unlink(_:joining:)``: the
  /// value would be lost.
  ///
  /// - Complexity: one allocation and an atomic instruction. Does not wait for readers.
  /// - Threads: any, also inside a section.
  @inlinable
  public borrowing func publish(_ value: consuming Value) {
    _ = exchange(value)
  }

  /// Replaces the node, whatever it is, and gives the old one back, which readers may still be
  /// using.
  ///
  /// - Complexity: as ``publish(_:)``.
  /// - Threads: as ``publish(_:)``, and traps as that does.
  @inlinable
  @discardableResult
  public borrowing func exchange(_ value: consuming Value) -> Retired<Value>? {
    guard let old = link.exchange(Self.allocate(value)) else { return nil }
    return Retired(old, readUnder: F.self)
  }

  /// Publishes `value` where there is nothing; returns it when there is a node already, or when
  /// this pointer belongs to a node that was unlinked.
  ///
  /// - Complexity: one load when refused at once; else one allocation and an atomic instruction.
  /// - Threads: any, also inside a section.
  @inlinable
  public borrowing func fill(_ value: consuming Value) -> Value? {
    if link.load() != nil { return value }
    let new = Self.allocate(value)
    if link.compareExchange(nil, with: new) { return nil }
    return Self.takeBack(new)
  }

  /// Publishes `new` if `expected` is still the node here.
  ///
  /// `expected` is what the section or the online reader loaded: a node, not a value that happens
  /// to be equal. A node cannot come back under the same address meanwhile (the ABA problem): the
  /// section that `expected` belongs to keeps its memory from being freed.
  ///
  /// Refused as well when this pointer belongs to a node that was unlinked by
  /// ``unlink(_:joining:)``.
  ///
  /// - Complexity: one load when refused at once; else one allocation and an atomic instruction.
  /// - Threads: any that has a section open.
  @inlinable
  public borrowing func compareExchange(
    _ expected: borrowing Borrowed<Value>, with new: consuming Value
  ) -> CompareExchangeOutcome {
    let expected = expected.pointer
    if link.load() != UnsafeMutablePointer(mutating: expected) { return .refused(new) }
    let pointer = Self.allocate(new)
    if link.compareExchange(expected, with: pointer) {
      return .exchanged(Retired(UnsafeMutablePointer(mutating: expected), readUnder: F.self))
    }
    return .refused(Self.takeBack(pointer))
  }

  /// The result of ``compareExchange(_:with:)``. Each value is in one place: none is lost.
  public enum CompareExchangeOutcome: ~Copyable, Sendable {
    /// The new node is published; here is the one that it replaced.
    case exchanged(Retired<Value>)

    /// Another node, or none, was here and still is; here is the new value back.
    case refused(Value)

    /// Whether the new node was published.
    public var isExchanged: Bool {
      switch self {
      case .exchanged: true
      case .refused: false
      }
    }
  }

  /// Takes the node out, whatever it is; nil when there was none. Of several threads one gets it.
  ///
  /// - Complexity: an atomic instruction. Does not wait for readers.
  /// - Threads: any, also inside a section. Traps as ``publish(_:)`` does.
  @inlinable
  @discardableResult
  public borrowing func unlink() -> Retired<Value>? {
    guard let old = link.exchange(nil) else { return nil }
    return Retired(old, readUnder: F.self)
  }

  /// Takes `expected` out if it is still the node here. Of several threads one gets it.
  ///
  /// What the node's own pointers own goes with it. See ``unlink(_:joining:)`` to keep its
  /// successor.
  ///
  /// - Complexity: an atomic instruction.
  /// - Threads: any that has a section open.
  @inlinable
  @discardableResult
  public borrowing func unlink(_ expected: borrowing Borrowed<Value>) -> Retired<Value>? {
    guard link.compareExchange(expected.pointer, with: nil) else { return nil }
    return Retired(UnsafeMutablePointer(mutating: expected.pointer), readUnder: F.self)
  }

  /// Takes `expected` out if it is still the node here, and puts what `successor` points to in its
  /// place. Of several threads one gets it.
  ///
  /// ```swift
  /// // Takes the second node out of a list.
  /// Memb.read { section in
  ///   if let first = head.load(section), let second = first.value.next.load(section) {
  ///     first.value.next.unlink(second, joining: second.value.next)
  ///   }
  /// }
  /// ```
  ///
  /// `successor` is a pointer of the node that goes. Readers that are at the node go on through it.
  /// It owns nothing from then on and refuses every change, so that no thread publishes a node
  /// behind one that was unlinked. Nil also when another thread is unlinking the same node, or the
  /// node that this pointer belongs to; load again then.
  ///
  /// - Complexity: two atomic instructions, and one that gives up the first when the second fails.
  /// - Threads: any that has a section open.
  @inlinable
  @discardableResult
  public borrowing func unlink(
    _ expected: borrowing Borrowed<Value>, joining successor: borrowing RCUPointer
  ) -> Retired<Value>? {
    guard link.compareExchange(expected.pointer, joining: successor.link) else { return nil }
    return Retired(UnsafeMutablePointer(mutating: expected.pointer), readUnder: F.self)
  }

  /// Takes the value out of a node that was never published.
  @inlinable
  static func takeBack(_ pointer: UnsafeMutablePointer<Value>) -> Value {
    let value = pointer.move()
    pointer.deallocate()
    return value
  }
}
