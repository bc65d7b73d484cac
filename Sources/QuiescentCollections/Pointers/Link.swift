public import Synchronization

/// The word of a pointer: the address of a node that it owns, or nothing. Its lowest bit says that
/// the node was joined to another link: then this one still leads readers there, owns nothing, and
/// never changes any more.
@usableFromInline
struct Link<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer only: the owners of links say what may be shared.
  @usableFromInline
  typealias Node = UnsafeMutablePointer<Value>

  @usableFromInline
  let word: Atomic<UInt>

  @inlinable
  init(_ node: consuming Node?) {
    word = Atomic(UInt(bitPattern: node))
  }

  /// The node, for a reader. Acquire: what it points to was written before it was published.
  @inlinable @inline(__always)
  borrowing func load() -> Node? {
    Node(bitPattern: word.load(ordering: .acquiring) & ~1)
  }

  /// What the link's owner has to reclaim when the link goes.
  @inlinable
  borrowing func owned() -> Node? {
    let word = word.load(ordering: .acquiring)
    return word & 1 == 0 ? Node(bitPattern: word) : nil
  }

  /// Traps when the link was joined to another.
  @inlinable
  borrowing func exchange(_ new: Node?) -> Node? {
    var seen = word.load(ordering: .relaxed)
    while true {
      // A plain exchange could hit a link that is joined in the same moment: the node that this one
      // publishes would be reachable by readers of an unlinked node alone.
      if seen & 1 != 0 { CollectionMisuse.publishThroughUnlinked() }
      // Release: a reader that sees the node sees what is in it.
      let (isDone, now) = word.weakCompareExchange(
        expected: seen, desired: UInt(bitPattern: new), ordering: .acquiringAndReleasing)
      if isDone { return Node(bitPattern: seen) }
      seen = now
    }
  }

  /// Replaces `expected` alone; false when there is another node, and when the link was joined to
  /// another.
  @inlinable
  borrowing func compareExchange(_ expected: UnsafePointer<Value>?, with new: Node?) -> Bool {
    word.compareExchange(
      expected: UInt(bitPattern: expected), desired: UInt(bitPattern: new), ordering: .acquiringAndReleasing
    ).exchanged
  }

  /// Replaces `expected` by the node behind `successor`, a link of `expected`; false when something
  /// else is here.
  @inlinable
  borrowing func compareExchange(
    _ expected: UnsafePointer<Value>, joining successor: borrowing Link
  ) -> Bool {
    // First `successor` is closed, then its node is taken over. The other way round:
    //   this thread: reads successor's node C
    //   another one: publishes D through `successor`, before C
    //   this thread: replaces `expected` by C; D is lost.
    var node = successor.word.load(ordering: .relaxed)
    while true {
      if node & 1 != 0 { return false }
      let (isDone, now) = successor.word.weakCompareExchange(
        expected: node, desired: node | 1, ordering: .acquiringAndReleasing)
      if isDone { break }
      node = now
    }
    if word.compareExchange(
      expected: UInt(bitPattern: expected), desired: node, ordering: .acquiringAndReleasing
    ).exchanged {
      return true
    }
    // A closed link does not change, so this is what it held.
    successor.word.store(node, ordering: .releasing)
    return false
  }
}
