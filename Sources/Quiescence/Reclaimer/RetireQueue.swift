internal import Synchronization
internal import _QuiescenceShims

/// What one thread has retired for one reclaimer: the thread appends, one consumer at a time runs
/// the entries, and neither takes a lock.
///
/// A list of segments. Entries are numbered from 0; entry n is at n modulo the segment's capacity,
/// in the n-th segment of that size. `stop` is the number at which the thread has to ask the
/// reclaimer. It is 0 while the reclaimer does not look at the queue: the queue is *listed* from
/// the question to the moment at which the reclaimer has found it empty, or the thread has ended.
///
/// The reclaimer takes the rest of a grant back in three steps, and no entry is lost or appended
/// beyond the limit:
///
/// 1. reclaimer: stores 0 into `stop`, then passes the heavy half of a fence;
/// 2. reclaimer: reads `appended` and `filled`;
/// 3. thread: stores `appended`, passes the light half, loads `stop`; appends if it may; stores
///    `filled`, passes the light half, loads `stop` again.
///
/// If the first load of `stop` in step 3 saw the old bound, step 2 saw the claim in `appended`. If
/// the second load saw the old bound, step 2 saw the entry. If it saw 0, the thread lists the
/// queue.
struct RetireQueue: @unchecked Sendable {
  // Unchecked: each field of the memory belongs to one side, is atomic, or is under the core's
  // lock.
  let memory: UnsafeMutablePointer<Memory>

  /// What the thread writes. What others write is behind pointers of its own: a change of one field
  /// is an access to the whole struct.
  struct Memory: ~Copyable {
    /// The thread's own, up to `spare`.
    var tail: UnsafeMutablePointer<Segment>
    /// Entries below this number have a segment.
    var covered = Segment.capacity
    /// What was granted when the thread last asked.
    var allowed = 0
    /// Empty segments to use again.
    var spare: UnsafeMutablePointer<Segment>?
    /// How many segments the thread has used again. Written by the thread.
    let reused = Atomic<Int>(0)
    /// Entries that the thread has claimed. Written by the thread.
    let appended = Atomic<Int>(0)
    /// At this number the thread has to ask. Written by the thread and by the reclaimer.
    let stop = Atomic<Int>(0)
    /// Entries below this number are complete. Written by the thread, read by the reclaimer.
    let filled = Atomic<Int>(0)
    /// One reference for the life of the queue: a reference count that each retire changes would
    /// be a line that all threads write.
    let core: Unmanaged<ReclaimerCore>
    let coreID: UInt64
    let consumer: UnsafeMutablePointer<ConsumerSide>
    let locked: UnsafeMutablePointer<Shared>
  }

  /// What the consumer writes for every entry: on a cache line that the thread does not write.
  struct ConsumerSide: ~Copyable {
    /// The consumer's own.
    var head: UnsafeMutablePointer<Segment>
    /// How many segments were given back, and not freed since.
    let givenBack = Atomic<Int>(0)
    /// Empty segments on their way back: the consumer pushes, the thread takes all at once.
    let returned = Atomic<UnsafeMutablePointer<Segment>?>(nil)
    /// Entries below this number have run, or the last of them is running. Written by the consumer.
    let consumed = Atomic<Int>(0)
  }

  /// Under the core's lock.
  struct Shared {
    /// The thread may append up to this number.
    var granted = 0
    /// Entries below this number have returned.
    var finished = 0
    /// Batches that the queue is in.
    var pins = 0
    /// Where the queue is in the core's array of all queues.
    var index = 0
    var isListed = false
    var hasThreadEnded = false
    /// It is in the core's array of queues that ended threads have left.
    var isLeft = false
    /// In a forked child: its thread may have been in the middle of an append, so that no other
    /// thread can continue it.
    var isTorn = false
    /// Where it is in the core's array of listed queues, or of those that were left.
    var position = 0
    /// The sets that entries belong to.
    var marks: [Mark] = []
  }

  /// An empty queue, which the reclaimer does not know yet.
  init(for core: ReclaimerCore) {
    let segment = Segment.make(first: 0)
    let consumer = Self.allocateLines(for: ConsumerSide.self)
    consumer.initialize(to: ConsumerSide(head: segment))
    let locked = UnsafeMutablePointer<Shared>.allocate(capacity: 1)
    locked.initialize(to: Shared())
    memory = Self.allocateLines(for: Memory.self)
    memory.initialize(
      to: Memory(
        tail: segment, core: .passRetained(core), coreID: core.id, consumer: consumer, locked: locked))
  }

  /// On cache lines that nothing else is on.
  private static func allocateLines<Part: ~Copyable>(for part: Part.Type) -> UnsafeMutablePointer<Part> {
    UnsafeMutableRawPointer
      .allocate(byteCount: (MemoryLayout<Part>.size + 63) & ~63, alignment: 64)
      .bindMemory(to: Part.self, capacity: 1)
  }

  /// The queue as thread-local memory keeps it.
  var opaque: UnsafeMutableRawPointer { UnsafeMutableRawPointer(memory) }

  @inline(__always)
  init(opaque: UnsafeMutableRawPointer) {
    memory = opaque.assumingMemoryBound(to: Memory.self)
  }

  var consumer: UnsafeMutablePointer<ConsumerSide> { memory.pointee.consumer }
  var locked: UnsafeMutablePointer<Shared> { memory.pointee.locked }

  /// The reclaimer that the queue belongs to: it may be closed, and another one have its place.
  var coreID: UInt64 { memory.pointee.coreID }
  var core: ReclaimerCore { memory.pointee.core._withUnsafeGuaranteedRef { $0 } }

  // MARK: - Appending, by the thread

  /// False when the reclaimer refuses, which it does only when it may.
  @inline(__always)
  func append(_ callback: Callback, whenFull: WhenFull = .followPolicy) -> Bool {
    var number = memory.pointee.appended.load(ordering: .relaxed)
    memory.pointee.appended.store(number + 1, ordering: .relaxed)
    qs_fence_light()
    if _slowPath(number >= memory.pointee.stop.load(ordering: .relaxed)) {
      switch claimSlowly(for: callback, whenFull) {
      case .granted(let granted): number = granted
      case .refused: return false
      case .ran: return true
      }
    }
    (memory.pointee.tail.pointee.entries + (number & (Segment.capacity - 1))).initialize(to: callback)
    // Release: a reclaimer that sees the number sees the entry, and the segment that it is in.
    memory.pointee.filled.store(number + 1, ordering: .releasing)
    qs_fence_light()
    if _slowPath(memory.pointee.stop.load(ordering: .relaxed) == 0) {
      memory.pointee.core._withUnsafeGuaranteedRef { $0.noteAppended(to: self) }
    }
    return true
  }

  enum Claim {
    /// The number of the entry, which is the caller's to fill.
    case granted(Int)
    case refused
    /// A grace period has passed, and the callback has run.
    case ran
  }

  @inline(never)
  private func claimSlowly(for callback: Callback, _ whenFull: WhenFull) -> Claim {
    if extend() { return .granted(claimed - 1) }
    let room = memory.pointee.core._withUnsafeGuaranteedRef {
      $0.makeRoom(in: self, for: callback, whenFull)
    }
    switch room {
    // From here on the claim stands even if the reclaimer takes the grant back: it counts claims.
    case .granted: return .granted(claimed - 1)
    case .refused:
      giveClaimBack()
      return .refused
    case .ran: return .ran
    }
  }

  /// Entries that the thread has claimed, the one that it is about to append included.
  var claimed: Int { memory.pointee.appended.load(ordering: .relaxed) }

  func claim() { memory.pointee.appended.store(claimed + 1, ordering: .relaxed) }
  func giveClaimBack() { memory.pointee.appended.store(claimed - 1, ordering: .relaxed) }

  /// Adds a segment when that is all that is missing: the lock is for what threads share.
  private func extend() -> Bool {
    let number = claimed - 1
    if number != memory.pointee.covered || memory.pointee.allowed <= number { return false }
    let isStranded = memory.pointee.core._withUnsafeGuaranteedRef {
      $0.runner.isStranded.load(ordering: .relaxed)
    }
    if isStranded { return false }
    addSegment()
    // Fails when the reclaimer has taken the grant back: nothing else writes another number than 0.
    // A plain store could undo that, and the thread would go on past the limit.
    return memory.pointee.stop.compareExchange(
      expected: number, desired: min(memory.pointee.allowed, memory.pointee.covered), ordering: .relaxed
    ).exchanged
  }

  /// Lets the thread append up to `granted`, as far as there is a segment. Under the core's lock,
  /// by the thread.
  func install(_ granted: Int) {
    locked.pointee.granted = granted
    memory.pointee.allowed = granted
    if claimed > memory.pointee.covered { addSegment() }
    memory.pointee.stop.store(min(granted, memory.pointee.covered), ordering: .relaxed)
  }

  // MARK: - Looking at it

  /// Entries below this number are complete.
  var filled: Int { memory.pointee.filled.load(ordering: .acquiring) }

  /// The thread is about to append an entry. Under the core's lock, after a heavy fence.
  var hasClaim: Bool { claimed > filled }

  /// Entries below this number have run, or the last of them is running.
  var consumed: Int { consumer.pointee.consumed.load(ordering: .relaxed) }
}
