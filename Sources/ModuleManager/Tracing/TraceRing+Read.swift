internal import Synchronization

extension TraceRing {
  /// What a reader finds at a ticket.
  enum Found {
    case event(TraceEvent)
    /// Overwritten, or given up.
    case lost
    /// Its writer has not finished: it comes in a moment.
    case notYet
  }

  /// Reads up to `limit` events from `cursor` on, which moves behind them; and says how many in between are lost.
  ///
  /// Stops at the first one that is still being written. Every ticket below the cursor was either returned or counted as lost.
  func read(from cursor: inout UInt64, upTo limit: Int) -> (events: [TraceEvent], lost: UInt64) {
    var events: [TraceEvent] = []
    var lost: UInt64 = 0
    let end = end
    // Also the way past a writer that stays inside its slot for a lap.
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
    // Acquire: the words below are those of this event, or later ones.
    let sequence = slot[Slot.sequence].load(ordering: .acquiring)
    if sequence > 2 * ticket + 2 { return .lost }
    if sequence < 2 * ticket + 2 {
      return slot[Slot.given].load(ordering: .relaxed) > ticket ? .lost : .notYet
    }
    let words = (0..<Slot.size).map { slot[$0].load(ordering: .relaxed) }
    // The words before the second look at the sequence: else a writer that claims the slot in between could go unseen, and its
    // words be taken for those of this event.
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
