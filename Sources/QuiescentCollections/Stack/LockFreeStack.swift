public import Quiescence
public import Synchronization

/// A last-in, first-out stack without a lock.
///
/// ```swift
/// let free = LockFreeStack<Int, Memb>()
/// free.push(1)
/// free.push(2)
/// if let top = free.pop() { print(top) }
/// free.popAll { rest in print(rest) }
/// ```
///
/// # What it guarantees
///
/// - **A. `push` and `pop` are lock-free**, `popAll` is wait-free up to its first element: of the
///   threads that meet, one gets through.
/// - **B. Each element comes out once.** ``push(_:)``, ``pop()`` and the beginning of
///   ``popAll(_:)`` are linearizable.
/// - **C. A node that comes back under the same address (the ABA problem) is impossible.** `pop`
///   runs in a section of the flavor; a node is never pushed twice, and its memory goes after a
///   grace period: no address is used again while a thread compares it.
/// - **D. An element is destroyed by the thread that takes it**, at once, or with the stack.
///
/// Elements may be noncopyable.
///
/// Source: R. Kent Treiber, "Systems Programming: Coping with Parallelism", 1986; liburcu,
/// `urcu/lfstack.h`.
public struct LockFreeStack<Element: ~Copyable & Sendable, F: Flavor>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: elements are Sendable, and what threads share is atomic.
  @usableFromInline
  let top: Atomic<UnsafeMutablePointer<Node>?>

  @usableFromInline
  let retirer: Retirer<F>

  /// What a node begins with; its element lies behind. Not in one struct: the thread that popped a
  /// node takes the element while others may still read `next`.
  @usableFromInline
  struct Node: ~Copyable {
    /// Written before the node is pushed.
    @usableFromInline
    var next: UnsafeMutablePointer<Node>? = nil

    @inlinable
    init() {}

    @inlinable @inline(__always)
    static func element(of node: UnsafeMutablePointer<Node>) -> UnsafeMutablePointer<Element> {
      let alignment = MemoryLayout<Element>.alignment
      return
        (UnsafeMutableRawPointer(node) + ((MemoryLayout<Node>.size &+ alignment &- 1) & ~(alignment &- 1)))
        .assumingMemoryBound(to: Element.self)
    }

    @inlinable
    static func make(_ element: consuming Element) -> UnsafeMutablePointer<Node> {
      let alignment = max(MemoryLayout<Node>.alignment, MemoryLayout<Element>.alignment)
      let memory = UnsafeMutableRawPointer.allocate(
        byteCount: alignment + MemoryLayout<Element>.size, alignment: alignment)
      let node = memory.bindMemory(to: Node.self, capacity: 1)
      node.initialize(to: Node())
      Self.element(of: node).initialize(to: element)
      return node
    }
  }

  /// Makes an empty stack.
  ///
  /// - Parameters:
  ///   - flavor: whose sections `pop` runs in.
  ///   - reclaimer: frees the nodes; the flavor's shared one when nil. Traps when it is one of
  ///     another flavor.
  @inlinable
  public init(flavor: F.Type = F.self, reclaimer: RCUReclaimer? = nil) {
    top = Atomic(nil)
    retirer = Retirer(reclaimer)
  }

  @inlinable
  deinit {
    // A call that pops borrows the stack, so none is under way.
    var node = top.load(ordering: .acquiring)
    while let current = node {
      node = current.pointee.next
      Node.element(of: current).deinitialize(count: 1)
      UnsafeMutableRawPointer(current).deallocate()
    }
  }
}

extension LockFreeStack where Element: ~Copyable {
  /// Puts an element on top. Returns whether the stack was empty.
  ///
  /// - Complexity: lock-free: an allocation and an atomic instruction, again when another thread
  ///   came first.
  /// - Threads: any.
  @inlinable
  @discardableResult
  public borrowing func push(_ element: consuming Element) -> Bool {
    let node = Node.make(element)
    var seen = top.load(ordering: .relaxed)
    while true {
      node.pointee.next = seen
      // Release: a thread that pops the node finds it initialized. That `seen` may be another node
      // under an old address does not matter here: it is on top, and that is all that a push relies
      // on.
      let (isDone, now) = top.weakCompareExchange(
        expected: seen, desired: node, successOrdering: .releasing, failureOrdering: .relaxed)
      if isDone { return seen == nil }
      seen = now
    }
  }

  /// Takes the element on top; nil when there is none.
  ///
  /// - Complexity: lock-free: a section, an atomic instruction, again when another thread came
  ///   first, and an append to the reclaimer's queue.
  /// - Threads: any; under `QSBR` only online.
  @inlinable
  public borrowing func pop() -> Element? {
    guard let node = unlinkTop() else { return nil }
    // The element is this thread's alone; others may still read the node's `next`.
    let element = Node.element(of: node).move()
    retirer.retire(node, by: MemoryReclaimer.self)
    return element
  }

  /// Takes all elements at one moment, and gives them to `body` from the top; returns how many.
  ///
  /// When `body` throws, the elements that it has not been given are destroyed.
  ///
  /// - Complexity: an atomic instruction, and for each element an append to the reclaimer's queue.
  /// - Threads: any.
  @inlinable
  @discardableResult
  public borrowing func popAll<Failure: Error>(
    _ body: (consuming Element) throws(Failure) -> Void
  ) throws(Failure) -> Int {
    var node = top.exchange(nil, ordering: .acquiringAndReleasing)
    var count = 0
    while let current = node {
      node = current.pointee.next
      count += 1
      let element = Node.element(of: current).move()
      retirer.retire(current, by: MemoryReclaimer.self)
      do throws(Failure) {
        try body(element)
      } catch {
        while let current = node {
          node = current.pointee.next
          Node.element(of: current).deinitialize(count: 1)
          retirer.retire(current, by: MemoryReclaimer.self)
        }
        throw error
      }
    }
    return count
  }

  /// Whether there is nothing in it at this moment.
  ///
  /// - Complexity: a load. Any thread.
  @inlinable
  public var isEmpty: Bool { top.load(ordering: .relaxed) == nil }

  @inlinable
  borrowing func unlinkTop() -> UnsafeMutablePointer<Node>? {
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    var seen = top.load(ordering: .acquiring)
    while let node = seen {
      // Without the section: another thread pops this node and the next one, frees both, and pushes
      // a new node that gets this one's address. The exchange below would then put the freed one on
      // top.
      let (isDone, now) = top.compareExchange(
        expected: node, desired: node.pointee.next, successOrdering: .acquiringAndReleasing,
        failureOrdering: .acquiring)
      if isDone { return node }
      seen = now
    }
    return nil
  }
}
