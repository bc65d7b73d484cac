import Quiescence
import TestSupport

@testable import QuiescentCollections

/// Operations with one rule broken each. The contract that each breaks is in CONTRACTS.md.
extension RCUList where Element: ~Copyable {
  /// An iteration under the lock that writers take.
  borrowing func forEachUnderLock(_ body: (borrowing Element) -> Void) {
    anchor.pointee.lock.acquire()
    defer { anchor.pointee.lock.release() }
    forEach(body)
  }

  /// An iteration that loads the way on before it visits an element.
  borrowing func forEachLoadedAhead(_ body: (borrowing Element) -> Void) {
    F.read { _ in
      var node = anchor.pointee.first.load(ordering: .acquiring)
      while let current = node {
        node = current.pointee.next.load(ordering: .acquiring)
        body(Node.element(of: current).pointee)
      }
    }
  }

  /// An insertion at the beginning that links the node before the node leads on.
  borrowing func prependTooEarly(_ element: consuming Element) {
    let node = Node.make(element, of: anchor)
    anchor.pointee.lock.acquire()
    let next = anchor.pointee.first.load(ordering: .relaxed)
    anchor.pointee.first.store(node, ordering: .releasing)
    letOthersRun()
    node.pointee.next.store(next, ordering: .releasing)
    if let next { next.pointee.previous = node } else { anchor.pointee.last = node }
    anchor.pointee.count.store(anchor.pointee.count.load(ordering: .relaxed) + 1, ordering: .relaxed)
    anchor.pointee.lock.release()
  }

  /// A removal that answers by a look under the lock, and removes in a second turn.
  borrowing func removeInTwoTurns(_ entry: borrowing Entry) -> Bool {
    let node = entry.node
    anchor.pointee.lock.acquire()
    let wasLinked = node.pointee.isLinked
    anchor.pointee.lock.release()
    letOthersRun()
    remove(entry)
    return wasLinked
  }

  /// A removal after which the node no longer leads on.
  borrowing func removeAndCut(_ entry: borrowing Entry) {
    let node = entry.node
    remove(entry)
    node.pointee.next.store(nil, ordering: .releasing)
  }

  /// A removal that frees the node at once, without a grace period.
  borrowing func removeAndFreeAtOnce(_ entry: borrowing Entry) {
    let node = entry.node
    anchor.pointee.lock.acquire()
    unlink(node)
    anchor.pointee.lock.release()
    NodeReclaimer<Element, F>.reclaim(node)
  }
}
