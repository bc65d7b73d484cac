import Quiescence
import Synchronization
import TestSupport

@testable import QuiescentCollections

extension LockFreeStack where Element: ~Copyable {
  /// What a `pop` does that was stopped between its two steps: the node on top, and the one below.
  /// In a section.
  borrowing func beginPop() -> (top: UnsafeMutablePointer<Node>, next: UnsafeMutablePointer<Node>?)? {
    guard let node = top.load(ordering: .acquiring) else { return nil }
    return (node, node.pointee.next)
  }

  /// The second step. Returns whether the node was still on top.
  borrowing func endPop(_ seen: (top: UnsafeMutablePointer<Node>, next: UnsafeMutablePointer<Node>?)) -> Bool
  {
    top.compareExchange(expected: seen.top, desired: seen.next, ordering: .acquiringAndReleasing).exchanged
  }

  /// A removal that leaves the element in its node until a grace period has passed.
  borrowing func popAndKeep() -> Bool {
    guard let node = unlinkTop() else { return false }
    retirer.retire(node, by: StackNodeReclaimer<Element, F>.self)
    return true
  }

  /// Pushes a node that was popped before, under its old address.
  borrowing func pushAgain(_ node: UnsafeMutablePointer<Node>) {
    node.pointee.next = top.load(ordering: .relaxed)
    top.store(node, ordering: .releasing)
  }

  /// A removal of all elements that takes them one by one.
  borrowing func popAllOneByOne(_ body: (consuming Element) -> Void) -> Int {
    var count = 0
    while let element = pop() {
      count += 1
      body(element)
    }
    return count
  }
}

enum StackNodeReclaimer<Element: ~Copyable & Sendable, F: Flavor>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) {
    let node = argument.assumingMemoryBound(to: LockFreeStack<Element, F>.Node.self)
    LockFreeStack<Element, F>.Node.element(of: node).deinitialize(count: 1)
    argument.deallocate()
  }
}

/// A stack whose operations lock each other out.
final class LockedStack: Sendable {
  private let elements = Mutex<[Int]>([])

  func push(_ element: Int) { elements.withLock { $0.append(element) } }

  /// Stops in the middle, like a thread that loses its processor.
  func pop(_ middle: () -> Void) -> Int? {
    elements.withLock { elements in
      middle()
      return elements.popLast()
    }
  }
}

extension LockFreeStack where Element == Int {
  /// A removal by a load and a store, which two threads may make at the same time. Nodes stay:
  /// `popped` gets them, some of them twice.
  borrowing func popByLoadAndStore(_ popped: inout [UnsafeMutablePointer<Node>]) -> Int? {
    guard let node = top.load(ordering: .acquiring) else { return nil }
    letOthersRun()
    top.store(node.pointee.next, ordering: .releasing)
    popped.append(node)
    return Node.element(of: node).pointee
  }
}
