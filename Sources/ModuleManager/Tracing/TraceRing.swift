internal import Quiescence
internal import Synchronization

/// The newest events, in slots of a fixed size that any number of threads write and read without a lock.
///
/// A writer takes a ticket, and with it a slot: the ticket modulo the number of slots. The slot's sequence word says whose it is:
///
/// | sequence | the slot |
/// |---|---|
/// | 0 | was never written |
/// | 2t + 1 | is being written by ticket t |
/// | 2t + 2 | holds the event of ticket t |
///
/// Writing takes no lock, allocates nothing and waits for nobody. A writer whose slot is still being written by one of the laps
/// before, who was interrupted there for a whole lap, gives its event up.
final class TraceRing: Sendable {
  /// A power of two.
  let capacity: Int
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let tickets = Atomic<UInt64>(0)

  /// The words of a slot, and in which of them what is.
  enum Slot {
    static let sequence = 0
    /// One more than the highest ticket that gave up here.
    static let given = 1
    static let time = 2
    /// Thread, kind, phase and the lengths of both texts.
    static let what = 3
    static let errno = 4
    static let duration = 5
    /// One more than the ticket of the beginning, or 0.
    static let beginning = 6
    static let module = 7
    static let label = module + TraceEvent.moduleLimit / 8
    static let size = label + TraceEvent.labelLimit / 8
  }

  /// Makes an empty ring of `capacity` slots, rounded up to a power of two; 280 bytes each.
  init(capacity: Int) {
    var slots = 1
    while slots < capacity { slots *= 2 }
    self.capacity = slots
    words = .allocate(capacity: slots * Slot.size)
    for index in 0..<slots * Slot.size { (words + index).initialize(to: Atomic(0)) }
  }

  deinit { words.deallocate() }

  /// The ticket that the next event gets: how many there were.
  var end: UInt64 { tickets.load(ordering: .relaxed) }

  func slot(of ticket: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
    words + Int(truncatingIfNeeded: ticket & UInt64(capacity - 1)) * Slot.size
  }

  /// Where a thread may be interrupted for a long time.
  enum Step {
    /// It has a ticket, and no slot yet.
    case hasTicket
    /// It has found its slot finished, and has not claimed it yet.
    case hasLooked
    /// Half of its words are in the slot.
    case isInside
  }

  /// Records an event of the calling thread; returns its ticket. Tests stop it in `step`.
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
      // Else a reader would wait here for an event that does not come. The highest one: a ticket below it is a lap behind.
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
    // Release: else a reader could see the finished sequence before the words, and read those of the lap before as this event.
    slot[Slot.sequence].store(2 * ticket + 2, ordering: .releasing)
    return ticket
  }

  @inline(__always)
  private func claim(
    _ slot: UnsafeMutablePointer<Atomic<UInt64>>, _ ticket: UInt64, _ step: (Step) -> Void
  ) -> Bool {
    let seen = slot[Slot.sequence].load(ordering: .relaxed)
    // Odd: whoever was interrupted in there a lap ago would mix its words with these, and then publish the mixture.
    // Above: this thread itself slept for a lap, and would overwrite a newer event with an older one.
    if seen & 1 == 1 || seen > 2 * ticket { return false }
    step(.hasLooked)
    // In one step with the look: two writers, a lap apart, that both found the slot finished would both write.
    // Acquire: the words of the lap before come before these in each word's own order, or some of them could stay.
    let isMine = slot[Slot.sequence].compareExchange(
      expected: seen, desired: 2 * ticket + 1, ordering: .acquiring
    ).exchanged
    // Before every word: else a reader could copy one of these, and still find the sequence of the lap before at its second look.
    if isMine { atomicMemoryFence(ordering: .releasing) }
    return isMine
  }
}

extension UnsafeMutablePointer where Pointee == Atomic<UInt64> {
  /// Copies as much of `text` as fits into whole characters, and says how many bytes that is.
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

/// Texts that have to fit into a slot.
enum TraceText {
  /// What stands for the rest: a string of three bytes, which needs no memory.
  static let mark = "…"

  /// How many bytes of `text` are kept, up to the end of a character, if there are more than `limit`; the mark is not counted.
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
