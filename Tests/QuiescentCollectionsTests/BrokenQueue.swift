import Quiescence
import TestSupport

@testable import QuiescentCollections

/// Operations with one rule broken each. The contract that each breaks is in CONTRACTS.md.
extension WaitFreeQueue where Element: ~Copyable {
  /// A producer that takes the consumers' lock.
  borrowing func enqueueUnderLock(_ element: consuming Element) {
    ends.pointee.lock.acquire()
    enqueue(element)
    ends.pointee.lock.release()
  }

  /// A producer that asks whether the queue is empty before it takes its place.
  borrowing func enqueueAfterALook(_ element: consuming Element) -> Bool {
    let wasEmpty = isEmpty
    letOthersRun()
    enqueue(element)
    return wasEmpty
  }

  /// The first of the two steps of `enqueue`: takes the place, and does not link to it. Returns the
  /// node before and the new one.
  borrowing func takePlace(
    for element: consuming Element
  ) -> (previous: UnsafeMutableRawPointer, node: UnsafeMutableRawPointer) {
    let node = Self.make(element)
    return (ends.pointee.last.exchange(node, ordering: .acquiringAndReleasing), node)
  }

  /// The second step.
  static func linkPlace(_ place: (previous: UnsafeMutableRawPointer, node: UnsafeMutableRawPointer)) {
    link(place.previous).pointee.store(place.node, ordering: .releasing)
  }

  /// A consumer that takes a missing link for the end of the queue.
  borrowing func dequeueWithoutWaiting() -> Element? {
    ends.pointee.lock.acquire()
    let isLinked = ends.pointee.first.pointee.load(ordering: .acquiring) != nil
    let node = isLinked ? takeFirst() : nil
    ends.pointee.lock.release()
    guard let node else { return nil }
    let element = Self.element(node).move()
    Self.freeEmpty(node)
    return element
  }

  /// A consumer that takes elements as long as there are any, not those of one moment.
  borrowing func drainOneByOne(_ body: (consuming Element) -> Void) -> Int {
    var count = 0
    while let element = dequeue() {
      count += 1
      body(element)
    }
    return count
  }

  /// A consumer that leaves the element in its node, and has both destroyed after a grace period.
  borrowing func dequeueAndRetire() -> Bool {
    ends.pointee.lock.acquire()
    let node = takeFirst()
    ends.pointee.lock.release()
    guard let node else { return false }
    Memb.unsafeRetire(node, by: QueueNodeReclaimer<Element>.self)
    return true
  }
}

enum QueueNodeReclaimer<Element: ~Copyable & Sendable>: Reclaimable {
  static func reclaim(_ argument: UnsafeMutableRawPointer) { WaitFreeQueue<Element>.free(argument) }
}

extension WaitFreeQueue where Element == Int {
  /// A consumer that looks at the first element and removes one in two turns of the lock.
  borrowing func dequeueInTwoTurns() -> Int? {
    ends.pointee.lock.acquire()
    let first =
      isEmpty ? nil : Self.element(Self.waitForLink(UnsafeMutableRawPointer(ends.pointee.first))).pointee
    ends.pointee.lock.release()
    guard let first else { return nil }
    letOthersRun()
    return dequeue() == nil ? nil : first
  }
}
