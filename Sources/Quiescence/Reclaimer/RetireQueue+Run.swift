internal import Synchronization
internal import _QuiescenceShims

extension RetireQueue {
  /// What the core's lock protects.
  var shared: Shared {
    get { memory.pointee.shared }
    nonmutating _modify { yield &memory.pointee.shared }
  }

  /// Complete entries that have not begun to run.
  var hasEntries: Bool { filled > consumed }

  /// Every complete entry has returned. Under the core's lock.
  var isFinished: Bool { filled == memory.pointee.shared.finished }

  /// Whether the thread has to ask before it appends again.
  var isStopped: Bool { memory.pointee.stop.load(ordering: .relaxed) == 0 }

  /// The first step of taking a grant back. A heavy fence follows, then ``clampGrant()``. Under the
  /// core's lock.
  func stopThread() { memory.pointee.stop.store(0, ordering: .relaxed) }

  /// What the thread has not claimed is not granted any more. Under the core's lock.
  func clampGrant() { memory.pointee.shared.granted = min(memory.pointee.shared.granted, claimed) }

  /// Runs the entries below `bound`, in order. By the one consumer.
  func run(upTo bound: Int) {
    while consumed < bound {
      let number = consumed
      // By the segment's own number: a child that was forked in between goes on where this thread was.
      if number == memory.pointee.head.pointee.first + Segment.capacity {
        let done = memory.pointee.head
        // Linked before the entry was counted.
        memory.pointee.head = done.pointee.next!
        giveBack(done)
      }
      let callback = memory.pointee.head.pointee.entries[number & (Segment.capacity - 1)]
      memory.pointee.consumed.store(number + 1, ordering: .relaxed)
      callback.run()
    }
  }

  /// Entries below `bound` belong to `set`, which holds until they have run. Under the core's lock.
  func mark(_ set: CallbackSet, upTo bound: Int) {
    if bound <= memory.pointee.shared.finished { return }
    if let index = memory.pointee.shared.marks.firstIndex(where: { $0.set === set }) {
      if memory.pointee.shared.marks[index].bound < bound {
        memory.pointee.shared.marks[index].bound = bound
      }
      return
    }
    set.hold(for: core)
    memory.pointee.shared.marks.append((set, bound))
  }

  /// The first number at which a set ends. Under the core's lock.
  var firstBound: Int? { memory.pointee.shared.marks.lazy.map(\.bound).min() }

  /// Takes the marks that end at or below `bound`. The caller releases their sets. Under the core's
  /// lock.
  func takeMarks(upTo bound: Int) -> [CallbackSet] {
    if memory.pointee.shared.marks.isEmpty { return [] }
    let done = memory.pointee.shared.marks.filter { $0.bound <= bound }.map(\.set)
    if !done.isEmpty { memory.pointee.shared.marks.removeAll { $0.bound <= bound } }
    return done
  }

  /// Calls `body` with each queue of the calling thread.
  static func forEachOfThread(_ body: (RetireQueue) -> Void) {
    for place in 0..<qs_thread_retire_places() {
      if let opaque = qs_thread_retire_queue(place) { body(RetireQueue(opaque: opaque)) }
    }
  }
}
