internal import Glibc
internal import Quiescence
internal import Synchronization

/// The newest events, in slots of a fixed size that any number of threads write and read without a
/// lock.
///
/// A writer takes a ticket, which selects a slot: the ticket modulo the number of slots. The
/// sequence word of the slot says which ticket owns the slot:
///
/// | sequence | the slot |
/// |---|---|
/// | 0 | was never written |
/// | 2t + 1 | is being written by ticket t |
/// | 2t + 2 | holds the event of ticket t |
///
/// Writing takes no lock, allocates nothing and never waits. If the slot is still being written by
/// a ticket of an earlier lap, whose thread was interrupted for a whole lap, the writer gives its
/// event up.
final class TraceRing: Sendable {
  /// A power of two.
  let capacity: Int
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let tickets = Atomic<UInt64>(0)

  /// The word indices of a slot.
  enum Slot {
    static let sequence = 0
    /// One more than the highest ticket that was given up in this slot.
    static let given = 1
    static let time = 2
    /// The thread, the kind, the phase, and the lengths of both texts.
    static let what = 3
    static let errno = 4
    static let duration = 5
    /// One more than the ticket of the beginning, or 0.
    static let beginning = 6
    static let module = 7
    static let label = module + TraceEvent.moduleLimit / 8
    static let size = label + TraceEvent.labelLimit / 8
  }

  private let memory: TraceMemory?

  /// Creates an empty ring of `capacity` slots, rounded up to a power of two. A slot takes 280
  /// bytes, which are touched when it is first written.
  ///
  /// - Parameter memory: grants the slots, perhaps fewer, and takes them back.
  init(capacity: Int, from memory: TraceMemory? = nil) {
    var slots = 1
    while slots < capacity { slots *= 2 }
    if let memory { slots = memory.take(slots) }
    self.memory = memory
    self.capacity = slots
    guard let words = calloc(slots * Slot.size, MemoryLayout<Atomic<UInt64>>.size) else {
      fatalError("no memory for a trace of \(slots) events")
    }
    // Zero, as it comes from `calloc`, is what each begins with.
    self.words = words.bindMemory(to: Atomic<UInt64>.self, capacity: slots * Slot.size)
  }

  deinit {
    free(words)
    memory?.giveBack(capacity)
  }

  /// The next event's ticket, which is also the number of events so far.
  var end: UInt64 { tickets.load(ordering: .relaxed) }

  func slot(of ticket: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
    words + Int(truncatingIfNeeded: ticket & UInt64(capacity - 1)) * Slot.size
  }

  /// The points where tests interrupt a writer.
  enum Step {
    /// It has a ticket, but no slot yet.
    case hasTicket
    /// It has found the slot finished, and has not claimed it yet.
    case hasLooked
    /// Half of its words are in the slot.
    case isInside
  }

  /// Records an event of the calling thread. Returns its ticket. Tests pass `step` to stop the
  /// thread there.
  ///
  /// - Threads: any, also inside sections and hooks.
  @discardableResult @inline(__always)
  func write(
    _ kind: TraceEvent.Kind, _ phase: TraceEvent.Phase, module: String, label: String, errno: Int32 = 0,
    duration: UInt64 = 0, beginning: UInt64 = 0, step: (Step) -> Void = { _ in }
  ) -> UInt64 {
    let ticket = tickets.add(1, ordering: .relaxed).oldValue
    step(.hasTicket)
    let time = MonotonicClock.nanoseconds
    let slot = slot(of: ticket)
    guard claim(slot, ticket, step) else {
      // Otherwise a reader would wait here for an event that never comes. The maximum, because a
      // lower ticket belongs to an earlier lap.
      slot[Slot.given].max(ticket + 1, ordering: .relaxed)
      return ticket
    }
    let moduleLength = slot.store(module, at: Slot.module, limit: TraceEvent.moduleLimit)
    step(.isInside)
    let labelLength = slot.store(label, at: Slot.label, limit: TraceEvent.labelLimit)
    slot[Slot.time].store(time, ordering: .relaxed)
    slot[Slot.what].store(
      UInt64(UInt32(bitPattern: ServiceThread.currentID)) << 32 | UInt64(kind.rawValue) << 24
        | UInt64(phase.rawValue) << 16 | UInt64(moduleLength) << 8 | UInt64(labelLength), ordering: .relaxed)
    slot[Slot.errno].store(UInt64(UInt32(bitPattern: errno)), ordering: .relaxed)
    slot[Slot.duration].store(duration, ordering: .relaxed)
    slot[Slot.beginning].store(beginning, ordering: .relaxed)
    // Release: otherwise a reader could see the finished sequence before the words, and take the
    // words of the earlier lap for this event's.
    slot[Slot.sequence].store(2 * ticket + 2, ordering: .releasing)
    return ticket
  }

  @inline(__always)
  private func claim(
    _ slot: UnsafeMutablePointer<Atomic<UInt64>>, _ ticket: UInt64, _ step: (Step) -> Void
  ) -> Bool {
    let seen = slot[Slot.sequence].load(ordering: .relaxed)
    // Odd: a writer of an earlier lap is inside. Its words would mix with these, and it would
    // publish the mixture. Above: this thread was interrupted for a lap, and would overwrite a
    // newer event with an older one.
    if seen & 1 == 1 || seen > 2 * ticket { return false }
    step(.hasLooked)
    // One step with the test above: otherwise two writers, a lap apart, could both find the slot
    // finished, and both write. Acquire: in each word's modification order, the words of the
    // earlier lap come before these; otherwise an old word could remain.
    let isMine = slot[Slot.sequence].compareExchange(
      expected: seen, desired: 2 * ticket + 1, ordering: .acquiring
    ).exchanged
    // Before every word: otherwise a reader could copy one of these words, and still find the
    // sequence of the earlier lap at its second load.
    if isMine { atomicMemoryFence(ordering: .releasing) }
    return isMine
  }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt64> {
  /// Copies as much of `text` as fits, in whole characters. Returns the number of bytes.
  fileprivate func store(_ text: String, at first: Int, limit: Int) -> Int {
    let cut = TraceText.cut(text, to: limit)
    var word: UInt64 = 0
    var length = 0
    func add(_ byte: UInt8) {
      word |= UInt64(byte) << UInt64(length % 8 * 8)
      length += 1
      if length % 8 == 0 {
        self[first + length / 8 - 1].store(word, ordering: .relaxed)
        word = 0
      }
    }
    for byte in text.utf8.prefix(cut.bytes) { add(byte) }
    if cut.isShorter { for byte in TraceText.mark.utf8 { add(byte) } }
    if length % 8 != 0 { self[first + length / 8].store(word, ordering: .relaxed) }
    return length
  }
}

/// Cuts texts to the size of a slot.
enum TraceText {
  /// Marks the end of a text that was cut. Three bytes, so the string needs no allocation.
  static let mark = "…"

  /// How many bytes of `text` to keep, and whether the text is cut. A cut ends at a character
  /// boundary and leaves room for the mark.
  static func cut(_ text: String, to limit: Int) -> (bytes: Int, isShorter: Bool) {
    if text.utf8.count <= limit { return (text.utf8.count, false) }
    var bytes = limit - mark.utf8.count
    while bytes > 0 {
      let index = text.utf8.index(text.startIndex, offsetBy: bytes)
      if String.Index(index, within: text) != nil { break }
      bytes -= 1
    }
    return (bytes, true)
  }
}

/// The slots that the rings of one manager may have at the same time: the one that is written, and
/// those that followers which have stopped may still read.
final class TraceMemory: Sendable {
  /// Of all rings together: 37 MB.
  static let slots = 1 << 17

  private let left = Locked(TraceMemory.slots)

  /// So many, or as many as are left, as a power of two; one at least.
  func take(_ wanted: Int) -> Int {
    left.withLock { left in
      var slots = wanted
      while slots > 1 && slots > left { slots /= 2 }
      left -= slots
      return slots
    }
  }

  func giveBack(_ slots: Int) { left.withLock { $0 += slots } }
}
