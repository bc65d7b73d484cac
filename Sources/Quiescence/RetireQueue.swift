internal import Synchronization
internal import _QuiescenceShims

/// What one thread has retired for one reclaimer: the thread fills it, the reclaimer empties it, without a lock.
///
/// A list of segments. Entries are numbered from 0; entry n is at n modulo the segment's capacity, in the n-th
/// segment of that size. The thread alone appends, the reclaimer alone consumes, and `filled` is all that they share.
struct RetireQueue: @unchecked Sendable {
  // Unchecked: each field of the memory belongs to one of the two, or is atomic.
  private let memory: UnsafeMutablePointer<Memory>

  private struct Memory: ~Copyable {
    /// The thread's own.
    var tail: UnsafeMutablePointer<Segment>
    var appended = 0
    /// Who empties it. It has a thread that keeps it for ever, so it is never retained here: its reference count
    /// would be a line that all threads write.
    let reclaimer: Unmanaged<Reclaimer>
    /// Entries below this number are complete. Written by the thread, read by the reclaimer.
    let filled = Atomic<Int>(0)
    /// The thread has ended.
    let isClosed = Atomic<Bool>(false)
    /// Keeps what the reclaimer writes for every entry off the cache line that the thread writes.
    let padding = (0, 0, 0, 0, 0, 0, 0, 0)
    /// The reclaimer's own.
    var head: UnsafeMutablePointer<Segment>
    var consumed = 0
  }

  private struct Segment: ~Copyable {
    var next: UnsafeMutablePointer<Segment>?
    let entries: UnsafeMutablePointer<Callback>

    /// A power of two.
    static let capacity = 256

    static func make() -> UnsafeMutablePointer<Segment> {
      let segment = UnsafeMutablePointer<Segment>.allocate(capacity: 1)
      segment.initialize(to: Segment(next: nil, entries: .allocate(capacity: capacity)))
      return segment
    }

    static func free(_ segment: UnsafeMutablePointer<Segment>) {
      segment.pointee.entries.deallocate()
      segment.deinitialize(count: 1)
      segment.deallocate()
    }
  }

  /// An empty queue, which the reclaimer has to be told of.
  init(for reclaimer: Reclaimer) {
    let segment = Segment.make()
    memory = .allocate(capacity: 1)
    memory.initialize(to: Memory(tail: segment, reclaimer: .passUnretained(reclaimer), head: segment))
  }

  /// The queue as thread-local memory keeps it.
  var opaque: UnsafeMutableRawPointer { UnsafeMutableRawPointer(memory) }

  @inline(__always)
  init(opaque: UnsafeMutableRawPointer) {
    memory = opaque.assumingMemoryBound(to: Memory.self)
  }

  // MARK: - The thread's side

  @inline(__always)
  func append(_ callback: Callback) {
    let number = memory.pointee.appended
    let place = number & (Segment.capacity - 1)
    if place == 0 && number > 0 { addSegment() }
    (memory.pointee.tail.pointee.entries + place).initialize(to: callback)
    memory.pointee.appended = number + 1
    // Release: a reclaimer that sees the number sees the entry, and the segment that it is in.
    memory.pointee.filled.store(number + 1, ordering: .releasing)
    // The reclaimer says that it is sleepy, passes the heavy half of this fence, and looks at the queues once more.
    // Without the pair both could miss each other's store: it would sleep with this entry in the queue.
    qs_fence_light()
    memory.pointee.reclaimer._withUnsafeGuaranteedRef { reclaimer in
      if reclaimer.isSleepy.load(ordering: .relaxed) { reclaimer.wakeUp() }
    }
  }

  @inline(never)
  private func addSegment() {
    let segment = Segment.make()
    memory.pointee.tail.pointee.next = segment
    memory.pointee.tail = segment
  }

  /// The thread has ended: the reclaimer frees the queue when it is empty.
  func close() {
    let reclaimer = memory.pointee.reclaimer
    // Release: whoever sees it sees the last number. The memory may be gone after it.
    memory.pointee.isClosed.store(true, ordering: .releasing)
    reclaimer._withUnsafeGuaranteedRef { $0.wakeUp() }
  }

  // MARK: - The reclaimer's side

  /// Entries below this number are complete.
  var filled: Int { memory.pointee.filled.load(ordering: .acquiring) }

  /// Entries that are complete and not consumed.
  var isEmpty: Bool { filled == memory.pointee.consumed }

  /// Runs the entries below `bound`, in order. What they retire in turn is not among them.
  func run(upTo bound: Int) {
    while memory.pointee.consumed < bound {
      let number = memory.pointee.consumed
      let place = number & (Segment.capacity - 1)
      if place == 0 && number > 0 {
        let done = memory.pointee.head
        // Linked before the entry was counted.
        memory.pointee.head = done.pointee.next!
        Segment.free(done)
      }
      let callback = memory.pointee.head.pointee.entries[place]
      memory.pointee.consumed = number + 1
      callback.run()
    }
  }

  /// Whether nothing is left and nothing can come any more.
  var isFinished: Bool {
    // In this order: after the thread's end the number does not change.
    memory.pointee.isClosed.load(ordering: .acquiring) && isEmpty
  }

  /// Frees a finished queue.
  func free() {
    Segment.free(memory.pointee.head)
    memory.deinitialize(count: 1)
    memory.deallocate()
  }
}
