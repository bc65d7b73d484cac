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
    /// What was granted when the thread last asked.
    var allowed = 0
    /// Empty segments to use again.
    var spare: UnsafeMutablePointer<Segment>?
    /// How many segments the thread has used again. Written by the thread.
    let reused = Atomic<Int>(0)
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
    /// How many segments were given back, and not freed since.
    let givenBack = Atomic<Int>(0)
    /// Empty segments on their way back: the consumer pushes, the thread takes all at once.
    let returned = Atomic<UnsafeMutablePointer<Segment>?>(nil)
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
      if extend() { break }
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
      if reclaimer.isIdle.load(ordering: .relaxed) { reclaimer.wakeUp() }
    }
    return true
  }

  /// When only the segment is full, the thread goes on by itself: the lock is for what threads share. False when it
  /// has to ask.
  @inline(never)
  private func extend() -> Bool {
    let number = memory.pointee.appended
    if number != memory.pointee.covered || memory.pointee.allowed <= number { return false }
    addSegment()
    // Fails when the reclaimer has revoked what it had granted, before or just now: nobody else writes another number
    // than 0. A plain store could undo it, and the thread would go on past the limit.
    return memory.pointee.stop.compareExchange(
      expected: number, desired: min(memory.pointee.allowed, memory.pointee.covered), ordering: .relaxed
    ).exchanged
  }

  private func addSegment() {
    if memory.pointee.spare == nil {
      // Acquire: the consumer is done with them.
      memory.pointee.spare = memory.pointee.returned.exchange(nil, ordering: .acquiring)
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

  /// Lets the thread go on to `granted`, as far as there is a segment. Under the reclaimer's lock, by the thread.
  func grant(upTo granted: Int) {
    memory.pointee.granted = granted
    memory.pointee.allowed = granted
    if memory.pointee.appended == memory.pointee.covered { addSegment() }
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
        giveBack(done)
      }
      let callback = memory.pointee.head.pointee.entries[number & (Segment.capacity - 1)]
      memory.pointee.consumed.store(number + 1, ordering: .relaxed)
      callback.run()
    }
  }

  /// For the thread to use again: malloc would take the lock of the thread's arena, on a line that both then write.
  private func giveBack(_ segment: UnsafeMutablePointer<Segment>) {
    memory.pointee.givenBack.add(1, ordering: .relaxed)
    push(segment, to: segment)
  }

  /// Pushes a list. Others push too, and the thread takes all: a head that was taken and came back is as good as one
  /// that stayed, since nobody takes a single one.
  private func push(_ first: UnsafeMutablePointer<Segment>, to last: UnsafeMutablePointer<Segment>) {
    var head = memory.pointee.returned.load(ordering: .relaxed)
    while true {
      last.pointee.next = head
      let (done, now) = memory.pointee.returned.compareExchange(
        expected: head, desired: first, ordering: .releasing)
      if done { return }
      head = now
    }
  }

  /// Frees empty segments but a few: the backlog that needed them is gone. Under the reclaimer's lock.
  func trim() {
    let spare =
      memory.pointee.givenBack.load(ordering: .relaxed) - memory.pointee.reused.load(ordering: .relaxed)
    if spare <= Segment.spares { return }
    guard let first = memory.pointee.returned.exchange(nil, ordering: .acquiring) else { return }
    var last = first
    for _ in 1..<Segment.spares {
      guard let next = last.pointee.next else { break }
      last = next
    }
    var rest = last.pointee.next
    var freed = 0
    while let segment = rest {
      rest = segment.pointee.next
      Segment.free(segment)
      freed += 1
    }
    memory.pointee.givenBack.subtract(freed, ordering: .relaxed)
    push(first, to: last)
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
    for list in [
      memory.pointee.head, memory.pointee.spare, memory.pointee.returned.load(ordering: .acquiring),
    ] {
      var segment = list
      while let current = segment {
        segment = current.pointee.next
        Segment.free(current)
      }
    }
    memory.deinitialize(count: 1)
    memory.deallocate()
  }
}
