public import Quiescence
public import Synchronization

extension RCUList where Element: ~Copyable {
  /// Adds an element at the end.
  ///
  /// - Complexity: an allocation and the list's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  @inlinable
  public borrowing func append(_ element: consuming Element) {
    let node = Node.make(element, of: anchor)
    anchor.pointee.lock.acquire()
    link(node, after: anchor.pointee.last)
    anchor.pointee.lock.release()
  }

  /// Adds an element at the beginning.
  ///
  /// - Complexity: as ``append(_:)``. Threads: as that.
  @inlinable
  public borrowing func prepend(_ element: consuming Element) {
    let node = Node.make(element, of: anchor)
    anchor.pointee.lock.acquire()
    link(node, after: nil)
    anchor.pointee.lock.release()
  }

  /// Adds an element behind that of `entry`; returns it when that was removed. Traps for an entry
  /// of another list.
  ///
  /// - Complexity: as ``append(_:)``.
  /// - Threads: that of the entry's section.
  @inlinable
  @discardableResult
  public borrowing func insert(_ element: consuming Element, after entry: borrowing Entry) -> Element? {
    insert(element, at: entry, isBehind: true)
  }

  /// Adds an element before that of `entry`; returns it when that was removed. Traps for an entry
  /// of another list.
  ///
  /// - Complexity: as ``append(_:)``.
  /// - Threads: that of the entry's section.
  @inlinable
  @discardableResult
  public borrowing func insert(_ element: consuming Element, before entry: borrowing Entry) -> Element? {
    insert(element, at: entry, isBehind: false)
  }

  /// Removes the element of `entry`, which is destroyed after a grace period. False when it was
  /// removed already. Traps for an entry of another list.
  ///
  /// - Complexity: O(1): the list's lock and an append to the reclaimer's queue. Does not wait for
  ///   readers.
  /// - Threads: that of the entry's section.
  @inlinable
  @discardableResult
  public borrowing func remove(_ entry: borrowing Entry) -> Bool {
    let node = entry.node
    if node.pointee.anchor != anchor { CollectionMisuse.entryOfOtherList() }
    anchor.pointee.lock.acquire()
    let isMine = node.pointee.isLinked
    if isMine { unlink(node) }
    anchor.pointee.lock.release()
    // Without the lock: a full backlog may make the caller wait for readers, and a reader for the
    // lock.
    if isMine { retirer.retire(node, by: NodeReclaimer<Element, F>.self) }
    return isMine
  }

  /// Removes every element for which `condition` holds; returns how many.
  ///
  /// `condition` runs outside the lock, inside one section, once for each element: see contract B.
  ///
  /// - Complexity: O(n), and the lock for each that goes.
  /// - Threads: any; under `QSBR` only online.
  @inlinable
  @discardableResult
  public borrowing func removeAll<Failure: Error>(
    where condition: (borrowing Element) throws(Failure) -> Bool
  ) throws(Failure) -> Int {
    var removed = 0
    let token = F.unsafeEnter()
    defer { F.unsafeLeave(token) }
    var node = anchor.pointee.first.load(ordering: .acquiring)
    while let current = node {
      if try condition(Node.element(of: current).pointee), remove(Entry(current)) { removed += 1 }
      node = current.pointee.next.load(ordering: .acquiring)
    }
    return removed
  }

  /// Removes all elements at one moment.
  ///
  /// - Complexity: O(n) under the lock, and one append to the reclaimer's queue.
  /// - Threads: any, also inside a section.
  @inlinable
  public borrowing func removeAll() {
    anchor.pointee.lock.acquire()
    let first = anchor.pointee.first.load(ordering: .relaxed)
    var node = first
    while let current = node {
      current.pointee.isLinked = false
      node = current.pointee.next.load(ordering: .relaxed)
    }
    anchor.pointee.first.store(nil, ordering: .releasing)
    anchor.pointee.last = nil
    anchor.pointee.count.store(0, ordering: .relaxed)
    anchor.pointee.lock.release()
    if let first { retirer.retire(first, by: NodeChainReclaimer<Element, F>.self) }
  }

  // MARK: - Under the lock

  @inlinable
  borrowing func insert(
    _ element: consuming Element, at entry: borrowing Entry, isBehind: Bool
  ) -> Element? {
    let place = entry.node
    if place.pointee.anchor != anchor { CollectionMisuse.entryOfOtherList() }
    let node = Node.make(element, of: anchor)
    anchor.pointee.lock.acquire()
    let isThere = place.pointee.isLinked
    // Behind a node that was removed no iteration would find it that begins at the list's first
    // one.
    if isThere { link(node, after: isBehind ? place : place.pointee.previous) }
    anchor.pointee.lock.release()
    if isThere { return nil }
    // No other thread has seen it.
    let back = Node.element(of: node).move()
    node.deinitialize(count: 1)
    UnsafeMutableRawPointer(node).deallocate()
    return back
  }

  @inlinable
  borrowing func link(_ node: UnsafeMutablePointer<Node>, after previous: UnsafeMutablePointer<Node>?) {
    let next =
      if let previous { previous.pointee.next.load(ordering: .relaxed) } else {
        anchor.pointee.first.load(ordering: .relaxed)
      }
    // The node is whole, and leads on, before it is linked: a reader that finds it goes through it
    // to the rest.
    node.pointee.previous = previous
    node.pointee.next.store(next, ordering: .relaxed)
    if let next { next.pointee.previous = node } else { anchor.pointee.last = node }
    if let previous {
      previous.pointee.next.store(node, ordering: .releasing)
    } else {
      anchor.pointee.first.store(node, ordering: .releasing)
    }
    anchor.pointee.count.store(anchor.pointee.count.load(ordering: .relaxed) + 1, ordering: .relaxed)
  }

  @inlinable
  borrowing func unlink(_ node: UnsafeMutablePointer<Node>) {
    node.pointee.isLinked = false
    let previous = node.pointee.previous
    // The node's own `next` stays as it is: readers that are at the node go on by it. What it leads
    // to may be removed later than the node, and is then retired later, so that it outlives their
    // sections.
    let next = node.pointee.next.load(ordering: .relaxed)
    if let next { next.pointee.previous = previous } else { anchor.pointee.last = previous }
    if let previous {
      previous.pointee.next.store(next, ordering: .releasing)
    } else {
      anchor.pointee.first.store(next, ordering: .releasing)
    }
    anchor.pointee.count.store(anchor.pointee.count.load(ordering: .relaxed) - 1, ordering: .relaxed)
  }
}
