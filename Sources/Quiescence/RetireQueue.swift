internal import Synchronization
internal import _QuiescenceShims

/// What one thread has retired for one reclaimer: the thread fills it, the reclaimer empties it, without a lock.
///
/// A list of segments. Entries are numbered from 0; entry n is at n modulo the segment's capacity, in the n-th
/// segment of that size. The thread alone appends, one consumer at a time empties, and `filled` is all that they share.
struct RetireQueue: @unchecked Sendable {
  // Unchecked: each field of the memory belongs to one of the two, or is atomic, or is under the reclaimer's lock.
  private let memory: UnsafeMutablePointer<Memory>

  private struct Memory: ~Copyable {
    /// The thread's own.
    var tail: UnsafeMutablePointer<Segment>
    var appended = 0
    /// Entries below this number have a segment.
    var covered = Segment.capacity
    /// Whoever empties it, and who is woken for it. Never retained here: a reference count would be a line that all
    /// threads write. They live as long as somebody can retire through them.
    let reclaimer: Unmanaged<ReclaimerCore>
    let waker: Unmanaged<ReclaimerCore>
    let reclaimerID: UInt64
    /// At this number the thread has to ask. Written by the thread, and by whoever changes the limit.
    let stop = Atomic<Int>(0)
    /// Entries below this number are complete. Written by the thread, read by the reclaimer.
    let filled = Atomic<Int>(0)
    /// Which of the two have let go of it; the second one frees it.
    let endings = Atomic<UInt8>(0)
    /// Keeps what the reclaimer writes for every entry off the cache line that the thread writes.
    let padding = (0, 0, 0, 0, 0, 0, 0, 0)
    /// The consumer's own.
    var head: UnsafeMutablePointer<Segment>
    /// Written by the consumer. Entries below this number have run, but the last of them may be running.
    let consumed = Atomic<Int>(0)
    /// Under the reclaimer's lock: up to which number the thread may append, without asking again.
    var granted = 0
    /// Under the reclaimer's lock: who is about to empty it.
    var pins = 0
    /// Under the reclaimer's lock: below this number are entries that callbacks have retired.
    var chained = 0
  }

  private struct Segment: ~Copyable {
    /// The number of its first entry.
    let first: Int
    var next: UnsafeMutablePointer<Segment>?
    let entries: UnsafeMutablePointer<Callback>

    /// A power of two. Small, since a thread has a queue for every reclaimer that it uses.
    static let capacity = 64

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
  }

  /// An empty queue, which the reclaimer has to be told of.
  init(for reclaimer: ReclaimerCore) {
    let segment = Segment.make(first: 0)
    memory = .allocate(capacity: 1)
    memory.initialize(
      to: Memory(
        tail: segment, reclaimer: .passUnretained(reclaimer),
        waker: .passUnretained(reclaimer.host ?? reclaimer), reclaimerID: reclaimer.id, head: segment))
  }

  /// The queue as thread-local memory keeps it.
  var opaque: UnsafeMutableRawPointer { UnsafeMutableRawPointer(memory) }

  @inline(__always)
  init(opaque: UnsafeMutableRawPointer) {
    memory = opaque.assumingMemoryBound(to: Memory.self)
  }

  // MARK: - The thread's side

  /// Whose it is: the reclaimer may be gone, and another one in its place.
  var reclaimerID: UInt64 { memory.pointee.reclaimerID }

  /// How many the thread has appended.
  var appended: Int { memory.pointee.appended }

  /// False when the reclaimer refuses, which it does only when it may.
  @inline(__always)
  func append(_ callback: Callback, mayRefuse: Bool = false) -> Bool {
    // Again after asking: what ran meanwhile on this thread may have appended.
    while memory.pointee.appended >= memory.pointee.stop.load(ordering: .relaxed) {
      switch memory.pointee.reclaimer._withUnsafeGuaranteedRef({ $0.makeRoom(in: self, mayRefuse: mayRefuse) }
      ) {
      case .granted: break
      case .refused: return false
      case .elapsed:
        memory.pointee.reclaimer._withUnsafeGuaranteedRef { $0.consume { callback.run() } }
        return true
      }
    }
    let number = memory.pointee.appended
    (memory.pointee.tail.pointee.entries + (number & (Segment.capacity - 1))).initialize(to: callback)
    memory.pointee.appended = number + 1
    // Release: a reclaimer that sees the number sees the entry, and the segment that it is in.
    memory.pointee.filled.store(number + 1, ordering: .releasing)
    // The reclaimer says that it is sleepy, passes the heavy half of this fence, and looks at the queues once more.
    // Without the pair both could miss each other's store: it would sleep with this entry in the queue.
    qs_fence_light()
    memory.pointee.waker._withUnsafeGuaranteedRef { reclaimer in
      if reclaimer.isSleepy.load(ordering: .relaxed) { reclaimer.wakeUp() }
    }
    return true
  }

  /// Lets the thread go on to `granted`, as far as there is a segment. Under the reclaimer's lock, by the thread.
  func grant(upTo granted: Int) {
    memory.pointee.granted = granted
    if memory.pointee.appended == memory.pointee.covered {
      let segment = Segment.make(first: memory.pointee.covered)
      memory.pointee.tail.pointee.next = segment
      memory.pointee.tail = segment
      memory.pointee.covered += Segment.capacity
    }
    memory.pointee.stop.store(min(granted, memory.pointee.covered), ordering: .relaxed)
  }

  /// Whether what was granted reaches beyond the next entry, so that only the segment was full.
  var isGrantedBeyond: Bool { memory.pointee.granted > memory.pointee.appended }
  var granted: Int { memory.pointee.granted }

  /// One of the two lets go. The second one frees the memory.
  func end(_ side: Side) {
    // Acquire and release: whoever frees it comes after everything that the other one did.
    let before = memory.pointee.endings.bitwiseOr(side.rawValue, ordering: .acquiringAndReleasing).oldValue
    if before != 0 { free() }
  }

  enum Side: UInt8 {
    case thread = 1
    case reclaimer = 2
  }

  // MARK: - The reclaimer's side

  /// Entries below this number are complete.
  var filled: Int { memory.pointee.filled.load(ordering: .acquiring) }

  /// Entries below this number have run, or the last of them is running.
  var consumed: Int { memory.pointee.consumed.load(ordering: .relaxed) }

  /// Entries that are complete and not consumed.
  var isEmpty: Bool { filled == consumed }

  /// Entries that take up room: those that wait, and those that the thread may still append without asking.
  var reserved: Int {
    let granted = memory.pointee.granted
    let end = granted == .max || hasEnded(.thread) ? filled : max(granted, filled)
    return end - consumed
  }

  /// The thread has to ask before it appends again. Under the reclaimer's lock. It may have looked at its bound
  /// already, and append one more: that one stays granted.
  func revoke() {
    memory.pointee.granted = min(memory.pointee.granted, filled + 1)
    memory.pointee.stop.store(0, ordering: .relaxed)
  }

  var pins: Int {
    get { memory.pointee.pins }
    nonmutating set { memory.pointee.pins = newValue }
  }

  /// Up to where a barrier has to wait for what callbacks have retired.
  var chained: Int {
    get { memory.pointee.chained }
    nonmutating set { memory.pointee.chained = newValue }
  }

  /// Runs the entries below `bound`, in order. What they retire in turn is not among them. One consumer at a time.
  func run(upTo bound: Int) {
    while consumed < bound {
      let number = consumed
      // By the segment's own number: a child that was forked in between goes on where this thread was.
      if number == memory.pointee.head.pointee.first + Segment.capacity {
        let done = memory.pointee.head
        // Linked before the entry was counted.
        memory.pointee.head = done.pointee.next!
        Segment.free(done)
      }
      let callback = memory.pointee.head.pointee.entries[number & (Segment.capacity - 1)]
      memory.pointee.consumed.store(number + 1, ordering: .relaxed)
      callback.run()
    }
  }

  /// Whether nothing is left and nothing can come any more.
  var isFinished: Bool {
    // In this order: after the thread's end the number does not change.
    hasEnded(.thread) && isEmpty
  }

  func hasEnded(_ side: Side) -> Bool {
    memory.pointee.endings.load(ordering: .acquiring) & side.rawValue != 0
  }

  private func free() {
    // One at the end of a reclaimer that did not run everything would leak its entries: there is none.
    var segment: UnsafeMutablePointer<Segment>? = memory.pointee.head
    while let current = segment {
      segment = current.pointee.next
      Segment.free(current)
    }
    memory.deinitialize(count: 1)
    memory.deallocate()
  }
}
