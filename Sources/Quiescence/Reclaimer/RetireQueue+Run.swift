internal import Synchronization
internal import _QuiescenceShims

extension RetireQueue {
  /// What the core's lock protects.
  var shared: Shared {
    get { locked.pointee }
    nonmutating _modify { yield &locked.pointee }
  }

  /// Complete entries that have not begun to run.
  var hasEntries: Bool { filled > consumed }

  /// Every complete entry has returned. Under the core's lock.
  var isFinished: Bool { filled == locked.pointee.finished }

  /// Whether the thread has to ask before it appends again.
  var isStopped: Bool {
    // Acquire: a thread that has stopped its own queue has no entry that is not seen.
    memory.pointee.stop.load(ordering: .acquiring) == 0
  }

  /// The first step of taking a grant back. A heavy fence follows, then ``clampGrant()``. Under the
  /// core's lock. Or by the thread, so that its next append asks: it has no claim then.
  func stopThread() { memory.pointee.stop.store(0, ordering: .releasing) }

  /// What the thread has not claimed is not granted any more. Under the core's lock.
  func clampGrant() { locked.pointee.granted = min(locked.pointee.granted, claimed) }

  /// Runs the entries below `bound`, in order. By the one consumer.
  func run(upTo bound: Int) {
    while consumed < bound {
      let number = consumed
      // By the segment's own number: a child that was forked in between goes on where this thread
      // was.
      if number == consumer.pointee.head.pointee.first + Segment.capacity {
        let done = consumer.pointee.head
        // Linked before the entry was counted.
        consumer.pointee.head = done.pointee.next!
        giveBack(done)
      }
      let callback = consumer.pointee.head.pointee.entries[number & (Segment.capacity - 1)]
      consumer.pointee.consumed.store(number + 1, ordering: .relaxed)
      callback.run()
    }
  }

  /// Calls `body` with each queue of the calling thread.
  static func forEachOfThread(_ body: (RetireQueue) -> Void) {
    for place in 0..<qs_thread_retire_places() {
      if let opaque = qs_thread_retire_queue(place) { body(RetireQueue(opaque: opaque)) }
    }
  }
}
