internal import Synchronization

extension TraceRing {
  /// What a reader finds in the slot of a ticket.
  enum Found {
    case event(TraceEvent)
    /// The event was overwritten, or its writer gave it up.
    case lost
    /// The writer has not finished.
    case notYet
  }

  /// Reads up to `limit` events, starting at `cursor`, and moves the cursor past them. Also returns
  /// how many events on the way were lost.
  ///
  /// Stops at the first event that is still being written. Every ticket below the new cursor was
  /// either returned or counted as lost.
  func read(from cursor: inout UInt64, upTo limit: Int) -> (events: [TraceEvent], lost: UInt64) {
    var events: [TraceEvent] = []
    var lost: UInt64 = 0
    let end = end
    // Events more than one lap behind are lost. This also passes a writer that has stayed inside
    // its slot for a whole lap.
    if end > UInt64(capacity), cursor < end - UInt64(capacity) {
      lost = end - UInt64(capacity) - cursor
      cursor = end - UInt64(capacity)
    }
    while cursor < end, events.count < limit {
      switch look(at: cursor) {
      case .event(let event): events.append(event)
      case .lost: lost += 1
      case .notYet: return (events, lost)
      }
      cursor += 1
    }
    return (events, lost)
  }

  func look(at ticket: UInt64) -> Found {
    let slot = slot(of: ticket)
    // Acquire: the words loaded below belong to this event or to a later one.
    let sequence = slot[Slot.sequence].load(ordering: .acquiring)
    if sequence > 2 * ticket + 2 { return .lost }
    if sequence < 2 * ticket + 2 {
      return slot[Slot.given].load(ordering: .relaxed) > ticket ? .lost : .notYet
    }
    let words = (0..<Slot.size).map { slot[$0].load(ordering: .relaxed) }
    // The words must be loaded before the second load of the sequence. Otherwise a writer could
    // claim the slot between the two, and its words would be taken for this event's.
    atomicMemoryFence(ordering: .acquiring)
    if slot[Slot.sequence].load(ordering: .relaxed) != sequence { return .lost }
    return .event(TraceEvent(ticket, words))
  }
}

extension TraceEvent {
  fileprivate init(_ ticket: UInt64, _ words: [UInt64]) {
    typealias Slot = TraceRing.Slot
    let what = words[Slot.what]
    number = ticket
    kind = Kind(rawValue: UInt8(truncatingIfNeeded: what >> 24))
    phase = Phase(rawValue: UInt8(truncatingIfNeeded: what >> 16))
    nanoseconds = words[Slot.time]
    thread = Int32(truncatingIfNeeded: what >> 32)
    module = Self.text(words[Slot.module...], Int(what >> 8 & 0xff))
    label = Self.text(words[Slot.label...], Int(what & 0xff))
    errno = Int32(truncatingIfNeeded: words[Slot.errno])
    duration = phase == .end ? .nanoseconds(Int64(clamping: words[Slot.duration])) : nil
    beginning = words[Slot.beginning] == 0 ? nil : words[Slot.beginning] - 1
  }

  private static func text(_ words: ArraySlice<UInt64>, _ length: Int) -> String {
    let bytes = (0..<length).map { index in
      UInt8(truncatingIfNeeded: words[words.startIndex + index / 8] >> UInt64(index % 8 * 8))
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
