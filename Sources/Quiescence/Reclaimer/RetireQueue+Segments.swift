internal import Synchronization

extension RetireQueue {
  struct Segment: ~Copyable {
    /// The number of its first entry.
    var first: Int
    var next: UnsafeMutablePointer<Segment>?
    let entries: UnsafeMutablePointer<Callback>

    /// A power of two. Small, since a thread has a queue for every reclaimer that it uses.
    static let capacity = 64

    /// So many empty ones stay when the queue is empty.
    static let spares = 16

    static func make(first: Int) -> UnsafeMutablePointer<Segment> {
      let segment = UnsafeMutablePointer<Segment>.allocate(capacity: 1)
      segment.initialize(to: Segment(first: first, next: nil, entries: .allocate(capacity: capacity)))
      return segment
    }

    static func free(_ segment: UnsafeMutablePointer<Segment>) {
      segment.pointee.entries.deallocate()
      segment.deinitialize(count: 1)
      segment.deallocate()
    }

    static func freeAll(from first: UnsafeMutablePointer<Segment>?) -> Int {
      var freed = 0
      var rest = first
      while let segment = rest {
        rest = segment.pointee.next
        free(segment)
        freed += 1
      }
      return freed
    }
  }

  /// By the thread.
  func addSegment() {
    if memory.pointee.spare == nil {
      // Acquire: the consumer is done with them.
      memory.pointee.spare = consumer.pointee.returned.exchange(nil, ordering: .acquiring)
    }
    let segment: UnsafeMutablePointer<Segment>
    if let spare = memory.pointee.spare {
      memory.pointee.spare = spare.pointee.next
      spare.pointee.next = nil
      spare.pointee.first = memory.pointee.covered
      memory.pointee.reused.store(memory.pointee.reused.load(ordering: .relaxed) + 1, ordering: .relaxed)
      segment = spare
    } else {
      segment = Segment.make(first: memory.pointee.covered)
    }
    memory.pointee.tail.pointee.next = segment
    memory.pointee.tail = segment
    memory.pointee.covered += Segment.capacity
  }

  /// Returns an empty segment to the thread: malloc would take the lock of the thread's arena, on a
  /// line that both then write. By the consumer.
  func giveBack(_ segment: UnsafeMutablePointer<Segment>) {
    consumer.pointee.givenBack.add(1, ordering: .relaxed)
    push(segment, to: segment)
  }

  /// Pushes a list. Others push too, and the thread takes all: a head that was taken and came back
  /// is as good as one that stayed, since no thread takes a single one.
  private func push(_ first: UnsafeMutablePointer<Segment>, to last: UnsafeMutablePointer<Segment>) {
    var head = consumer.pointee.returned.load(ordering: .relaxed)
    while true {
      last.pointee.next = head
      let (done, now) = consumer.pointee.returned.compareExchange(
        expected: head, desired: first, ordering: .releasing)
      if done { return }
      head = now
    }
  }

  /// Frees empty segments but a few: the backlog that needed them is gone. Under the core's lock.
  func trim() {
    let spare =
      consumer.pointee.givenBack.load(ordering: .relaxed) - memory.pointee.reused.load(ordering: .relaxed)
    if spare <= Segment.spares { return }
    guard let first = consumer.pointee.returned.exchange(nil, ordering: .acquiring) else { return }
    var last = first
    for _ in 1..<Segment.spares {
      guard let next = last.pointee.next else { break }
      last = next
    }
    let freed = Segment.freeAll(from: last.pointee.next)
    consumer.pointee.givenBack.subtract(freed, ordering: .relaxed)
    push(first, to: last)
  }

  /// Frees the queue. Both sides are done with it, and every entry has run.
  func free() {
    _ = Segment.freeAll(from: consumer.pointee.head)
    _ = Segment.freeAll(from: memory.pointee.spare)
    _ = Segment.freeAll(from: consumer.pointee.returned.load(ordering: .acquiring))
    let core = memory.pointee.core
    consumer.deinitialize(count: 1)
    locked.deinitialize(count: 1)
    let (consumer, locked) = (consumer, locked)
    memory.deinitialize(count: 1)
    for part in [UnsafeMutableRawPointer(consumer), .init(locked), .init(memory)] { part.deallocate() }
    core.release()
  }
}
