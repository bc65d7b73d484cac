internal import Glibc
public import Quiescence
public import Synchronization

/// A first-in, first-out queue that any number of threads put into without ever waiting.
///
/// ```swift
/// let work = WaitFreeQueue<String>()
/// work.enqueue("a")
/// work.enqueue("b")
/// if let first = work.dequeue() { print(first) }
/// work.drain { item in print(item) }
/// ```
///
/// # What it guarantees
///
/// - **A. `enqueue` is wait-free**: an allocation, one atomic exchange and a store, whatever other
///   threads do.
/// - **B. Each element comes out once**, to one consumer, in the order in which the elements went
///   in. ``enqueue(_:)``, ``dequeue()`` and the beginning of ``drain(_:)`` are linearizable.
/// - **C. `enqueue` says whether the queue was empty.** Of several producers that find it empty one
///   gets true: it can wake a consumer that sleeps, and the others need not.
/// - **D. Consumers take turns** under a lock. A consumer waits for a producer that was interrupted
///   between its two steps, when that one's element is the next.
/// - **E. An element is destroyed by the consumer that takes it**, or with the queue. No grace
///   period is needed: a producer touches no node that a consumer can have taken.
///
/// Elements may be noncopyable.
///
/// Source: liburcu, `urcu/wfcqueue.h`, Mathieu Desnoyers and Lai Jiangshan. Written in Swift and
/// not wrapped: the atomics are inlined, and the thread sanitizer sees them.
public struct WaitFreeQueue<Element: ~Copyable & Sendable>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: elements are Sendable, and the words that threads share are
  // atomic.
  @usableFromInline
  let ends: UnsafeMutablePointer<Ends>

  @usableFromInline
  typealias Link = Atomic<UnsafeMutableRawPointer?>

  @usableFromInline
  struct Ends: ~Copyable {
    /// The producers': the link of the last node, or `first`'s address when there is none.
    @usableFromInline
    let last: Atomic<UnsafeMutableRawPointer>
    /// Keeps what consumers write off the cache line that producers write.
    @usableFromInline
    let padding = (0, 0, 0, 0, 0, 0, 0)
    /// The consumers': the first node.
    @usableFromInline
    let first: UnsafeMutablePointer<Link>
    @usableFromInline
    let lock: Lock

    @usableFromInline
    init() {
      first = .allocate(capacity: 1)
      first.initialize(to: Atomic(nil))
      last = Atomic(UnsafeMutableRawPointer(first))
      lock = Lock()
    }
  }

  /// Makes an empty queue.
  @inlinable
  public init() {
    ends = .allocate(capacity: 1)
    ends.initialize(to: Ends())
  }

  @inlinable
  deinit {
    // Producers and consumers borrow the queue: there are none.
    var node = ends.pointee.first.pointee.load(ordering: .acquiring)
    while let current = node {
      node = Self.link(current).pointee.load(ordering: .acquiring)
      Self.free(current)
    }
    ends.pointee.first.deinitialize(count: 1)
    ends.pointee.first.deallocate()
    ends.deinitialize(count: 1)
    ends.deallocate()
  }
}

extension WaitFreeQueue where Element: ~Copyable {
  /// Puts an element behind all others. Returns whether the queue was empty: see contract C.
  ///
  /// - Complexity: wait-free: one allocation and one atomic exchange.
  /// - Threads: any.
  @inlinable
  @discardableResult
  public borrowing func enqueue(_ element: consuming Element) -> Bool {
    let node = Self.make(element)
    // The place first, then the way to it. Between the two, consumers wait here, and other
    // producers queue up behind. Release: the producer that gets this node from `last` links to it.
    // Acquire: the node before this one is whole.
    let previous = ends.pointee.last.exchange(node, ordering: .acquiringAndReleasing)
    // A consumer frees `previous` only after it has seen this link, or has taken it back as the
    // last one, and then `previous` was not what the exchange returned.
    Self.link(previous).pointee.store(node, ordering: .releasing)
    return previous == UnsafeMutableRawPointer(ends.pointee.first)
  }

  /// Takes the first element; nil when there is none.
  ///
  /// - Complexity: O(1) under the consumers' lock.
  /// - Threads: any; consumers take turns.
  @inlinable
  public borrowing func dequeue() -> Element? {
    ends.pointee.lock.acquire()
    let node = takeFirst()
    ends.pointee.lock.release()
    guard let node else { return nil }
    let element = Self.element(node).move()
    Self.freeEmpty(node)
    return element
  }

  /// Takes all elements that are there at one moment, and gives them to `body` one after the other;
  /// returns how many.
  ///
  /// When `body` throws, the elements that it has not been given are destroyed.
  ///
  /// - Complexity: O(1) under the consumers' lock, however many there are; `body` runs without it.
  /// - Threads: any; consumers take turns.
  @inlinable
  @discardableResult
  public borrowing func drain<Failure: Error>(
    _ body: (consuming Element) throws(Failure) -> Void
  ) throws(Failure) -> Int {
    ends.pointee.lock.acquire()
    let chain = takeAll()
    ends.pointee.lock.release()
    guard let chain else { return 0 }
    var count = 0
    var node = chain.first
    while true {
      // The nodes are this thread's; but the producer of the next one may be between its two steps.
      let next = node == chain.last ? nil : Self.waitForLink(node)
      count += 1
      let element = Self.element(node).move()
      Self.freeEmpty(node)
      do throws(Failure) {
        try body(element)
      } catch {
        var rest = next
        while let current = rest {
          rest = current == chain.last ? nil : Self.waitForLink(current)
          Self.free(current)
        }
        throw error
      }
      guard let next else { return count }
      node = next
    }
  }

  /// Whether there is nothing in it at this moment.
  ///
  /// - Complexity: a load. Any thread.
  @inlinable
  public var isEmpty: Bool {
    ends.pointee.last.load(ordering: .acquiring) == UnsafeMutableRawPointer(ends.pointee.first)
  }

  // MARK: - Under the lock

  @inlinable
  borrowing func takeFirst() -> UnsafeMutableRawPointer? {
    let first = ends.pointee.first
    if isEmpty { return nil }
    let node = Self.waitForLink(UnsafeMutableRawPointer(first))
    if let next = Self.link(node).pointee.load(ordering: .acquiring) {
      first.pointee.store(next, ordering: .relaxed)
      return node
    }
    // Perhaps the last one. Cleared before the exchange below and not after: the next producer
    // writes there.
    first.pointee.store(nil, ordering: .relaxed)
    if ends.pointee.last.compareExchange(
      expected: node, desired: UnsafeMutableRawPointer(first), ordering: .acquiringAndReleasing
    ).exchanged {
      return node
    }
    // A producer has its place behind this node, and will link to it: not to `first`, which is this
    // thread's meanwhile.
    first.pointee.store(Self.waitForLink(node), ordering: .relaxed)
    return node
  }

  @inlinable
  borrowing func takeAll() -> (first: UnsafeMutableRawPointer, last: UnsafeMutableRawPointer)? {
    let first = ends.pointee.first
    if isEmpty { return nil }
    let node = Self.waitForLink(UnsafeMutableRawPointer(first))
    first.pointee.store(nil, ordering: .relaxed)
    let last = ends.pointee.last.exchange(UnsafeMutableRawPointer(first), ordering: .acquiringAndReleasing)
    return (node, last)
  }

  // MARK: - Nodes

  /// A link at the beginning, the element behind it.
  @inlinable @inline(__always)
  static func link(_ node: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Link> {
    node.assumingMemoryBound(to: Link.self)
  }

  @inlinable @inline(__always)
  static func element(_ node: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Element> {
    let alignment = MemoryLayout<Element>.alignment
    return (node + ((MemoryLayout<Link>.size &+ alignment &- 1) & ~(alignment &- 1)))
      .assumingMemoryBound(to: Element.self)
  }

  @inlinable
  static func make(_ element: consuming Element) -> UnsafeMutableRawPointer {
    let alignment = max(MemoryLayout<Link>.alignment, MemoryLayout<Element>.alignment)
    let node = UnsafeMutableRawPointer.allocate(
      byteCount: alignment + MemoryLayout<Element>.size, alignment: alignment)
    link(node).initialize(to: Atomic(nil))
    Self.element(node).initialize(to: element)
    return node
  }

  @inlinable
  static func free(_ node: UnsafeMutableRawPointer) {
    element(node).deinitialize(count: 1)
    freeEmpty(node)
  }

  @inlinable
  static func freeEmpty(_ node: UnsafeMutableRawPointer) {
    link(node).deinitialize(count: 1)
    node.deallocate()
  }

  /// What a node leads to, once its producer has said so.
  @inlinable
  static func waitForLink(_ node: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer {
    while true {
      if let next = link(node).pointee.load(ordering: .acquiring) { return next }
      QueueWait.yield()
    }
  }
}

@usableFromInline
enum QueueWait {
  /// The producer that is waited for may want this processor for its one store.
  @usableFromInline
  static func yield() { sched_yield() }
}
