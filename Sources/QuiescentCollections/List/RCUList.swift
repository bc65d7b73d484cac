public import Quiescence
public import Synchronization

/// A list in the order of its elements' insertion, that any number of threads go through while
/// others change it.
///
/// ```swift
/// let listeners = RCUList<String, Memb>()
/// listeners.append("log")
/// listeners.append("metrics")
/// Memb.read { section in
///   var entries = listeners.entries(section)
///   while let entry = entries.next() {
///     if entry.value == "log" { listeners.remove(entry) }
///   }
/// }
/// ```
///
/// # What it guarantees
///
/// - **A. Iterations are wait-free.** They take no lock, allocate nothing and count no references.
/// - **B. An iteration sees each element that is there from its beginning to its end exactly
///   once**, in the list's order, and none that was not there at some moment in between. It may see
///   or miss an element that is inserted or removed meanwhile; it does not see one whose removal
///   happened before the iteration reached it, by this thread or by one that synchronized with it.
/// - **C. An element is removed once.** Of threads that remove the same entry, one gets true.
/// - **D. Elements may be removed while iterating**, by the iterating thread and by others, the
///   current one included. An iteration that is at an element which was removed goes on with the
///   elements behind it.
/// - **E. An element that was found in a section stays to the section's end**, also when it was
///   removed. It is destroyed after a grace period, on the reclaimer's thread.
/// - **F. Insertions, removals and ``removeAll()`` are linearizable**; writers take turns under a
///   lock of the list, and never wait for readers.
///
/// Elements may be noncopyable. Each is in a node of its own: for few elements that are seldom
/// changed and often gone through, `RCUBox<[Element]>` is faster to read.
///
/// Source: liburcu, `urcu/rculist.h`; Linux, include/linux/rculist.h.
public struct RCUList<Element: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: elements are Sendable; links change under the lock and by
  // publication.
  @usableFromInline
  let anchor: UnsafeMutablePointer<Anchor>

  @usableFromInline
  let retirer: Retirer<F>

  /// What a node of the list begins with; its element lies behind.
  @usableFromInline
  struct Node: ~Copyable {
    /// Readers follow it, also from a node that was removed.
    @usableFromInline
    let next: Atomic<UnsafeMutablePointer<Node>?>
    /// Under the lock. Nil for the first one.
    @usableFromInline
    var previous: UnsafeMutablePointer<Node>? = nil
    /// Under the lock.
    @usableFromInline
    var isLinked = true
    /// Of which list it is.
    @usableFromInline
    let anchor: UnsafeMutablePointer<Anchor>

    @inlinable
    init(of anchor: UnsafeMutablePointer<Anchor>) {
      next = Atomic(nil)
      self.anchor = anchor
    }

    @inlinable
    static var elementOffset: Int {
      let alignment = MemoryLayout<Element>.alignment
      return (MemoryLayout<Node>.size &+ alignment &- 1) & ~(alignment &- 1)
    }

    @inlinable @inline(__always)
    static func element(of node: UnsafeMutablePointer<Node>) -> UnsafeMutablePointer<Element> {
      (UnsafeMutableRawPointer(node) + elementOffset).assumingMemoryBound(to: Element.self)
    }

    @inlinable
    static func make(
      _ element: consuming Element, of anchor: UnsafeMutablePointer<Anchor>
    ) -> UnsafeMutablePointer<Node> {
      let memory = UnsafeMutableRawPointer.allocate(
        byteCount: elementOffset + MemoryLayout<Element>.size,
        alignment: max(MemoryLayout<Node>.alignment, MemoryLayout<Element>.alignment))
      let node = memory.bindMemory(to: Node.self, capacity: 1)
      node.initialize(to: Node(of: anchor))
      Self.element(of: node).initialize(to: element)
      return node
    }

    @inlinable
    static func free(_ node: UnsafeMutablePointer<Node>) {
      element(of: node).deinitialize(count: 1)
      node.deinitialize(count: 1)
      UnsafeMutableRawPointer(node).deallocate()
    }
  }

  /// What the list is apart from its nodes. In memory of its own, which nodes point to.
  @usableFromInline
  struct Anchor: ~Copyable {
    @usableFromInline
    let first = Atomic<UnsafeMutablePointer<Node>?>(nil)
    /// Under the lock.
    @usableFromInline
    var last: UnsafeMutablePointer<Node>?
    /// Written under the lock.
    @usableFromInline
    let count = Atomic<Int>(0)
    @usableFromInline
    let lock = Lock()

    @usableFromInline
    init() {}
  }

  /// Makes an empty list.
  ///
  /// - Parameters:
  ///   - flavor: whose sections iterations are in.
  ///   - reclaimer: destroys what was removed; the flavor's shared one when nil. Traps when it is
  ///     one of another flavor.
  @inlinable
  public init(flavor: F.Type = F.self, reclaimer: RCUReclaimer? = nil) {
    anchor = .allocate(capacity: 1)
    anchor.initialize(to: Anchor())
    retirer = Retirer(reclaimer)
  }

  @inlinable
  deinit {
    // A section that borrowed may be open. The anchor goes last: nodes that were removed before
    // name it, and are compared with it in their sections.
    retirer.retire(anchor, by: ListReclaimer<Element, F>.self)
  }
}

/// Frees the nodes that are left in a list, and its anchor.
@usableFromInline
enum ListReclaimer<Element: ~Copyable & Sendable, F: Flavor>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let anchor = argument.assumingMemoryBound(to: RCUList<Element, F>.Anchor.self)
    NodeChainReclaimer<Element, F>.free(anchor.pointee.first.load(ordering: .relaxed))
    anchor.deinitialize(count: 1)
    anchor.deallocate()
  }
}

/// Frees a node that was removed.
@usableFromInline
enum NodeReclaimer<Element: ~Copyable & Sendable, F: Flavor>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    RCUList<Element, F>.Node.free(argument.assumingMemoryBound(to: RCUList<Element, F>.Node.self))
  }
}

/// Frees nodes that were removed together.
@usableFromInline
enum NodeChainReclaimer<Element: ~Copyable & Sendable, F: Flavor>: Reclaimable {
  @inlinable
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    free(argument.assumingMemoryBound(to: RCUList<Element, F>.Node.self))
  }

  @inlinable
  static func free(_ first: UnsafeMutablePointer<RCUList<Element, F>.Node>?) {
    var node = first
    while let current = node {
      node = current.pointee.next.load(ordering: .relaxed)
      RCUList<Element, F>.Node.free(current)
    }
  }
}

// MARK: - Reading

extension RCUList where Element: ~Copyable {
  /// Calls `body` with each element, inside one read-side critical section. See contract B.
  ///
  /// - Complexity: O(n); no lock. Nothing that is retired meanwhile is freed before the end.
  /// - Threads: any; under `QSBR` only online.
  @inlinable @inline(__always)
  public borrowing func forEach<Failure: Error>(
    _ body: (borrowing Element) throws(Failure) -> Void
  ) throws(Failure) {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    // Acquire, here and below: a node was written before it was linked.
    var node = anchor.pointee.first.load(ordering: .acquiring)
    while let current = node {
      try body(Node.element(of: current).pointee)
      node = current.pointee.next.load(ordering: .acquiring)
    }
  }

  /// A way through the list, for as long as `section` is open. See contracts B and D.
  ///
  /// - Complexity: none.
  /// - Threads: the section's.
  @inlinable @inline(__always)
  @_lifetime(borrow section)
  public borrowing func entries(_ section: borrowing ReadSection<F>) -> Entries {
    let entries = Entries(anchor)
    return _overrideLifetime(entries, borrowing: section)
  }

  /// How many elements there are: a number that was right at some moment.
  ///
  /// - Complexity: one load. Any thread.
  @inlinable
  public var count: Int { anchor.pointee.count.load(ordering: .relaxed) }

  /// Whether there are none. See ``count``.
  @inlinable
  public var isEmpty: Bool { count == 0 }

  /// The elements of a list, one after the other. See ``RCUList/entries(_:)``.
  public struct Entries: ~Escapable {
    @usableFromInline
    let anchor: UnsafeMutablePointer<Anchor>
    @usableFromInline
    var node: UnsafeMutablePointer<Node>?

    @inlinable @inline(__always)
    @_lifetime(immortal)
    init(_ anchor: UnsafeMutablePointer<Anchor>) {
      self.anchor = anchor
    }

    /// The next element; nil at the end.
    ///
    /// - Complexity: one load.
    @inlinable @inline(__always)
    @_lifetime(self: copy self)
    @_lifetime(copy self)
    public mutating func next() -> Entry? {
      // From the current node, when the next one is asked for: one that was inserted behind it
      // meanwhile is seen, and one that was removed is not.
      let next =
        if let node { node.pointee.next.load(ordering: .acquiring) } else {
          anchor.pointee.first.load(ordering: .acquiring)
        }
      guard let next else { return nil }
      node = next
      let entry = Entry(next)
      return _overrideLifetime(entry, copying: self)
    }
  }

  /// An element in its place, for as long as the section is open.
  public struct Entry: ~Escapable {
    @usableFromInline
    let node: UnsafeMutablePointer<Node>

    @inlinable @inline(__always)
    @_lifetime(immortal)
    init(_ node: UnsafeMutablePointer<Node>) {
      self.node = node
    }

    /// The element, which may have been removed meanwhile.
    @inlinable
    public var value: Element {
      @inline(__always)
      unsafeAddress { UnsafePointer(Node.element(of: node)) }
    }
  }
}
