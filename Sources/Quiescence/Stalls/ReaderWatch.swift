internal import _QuiescenceShims

/// What is known of the readers that one grace period waits for: whether they hold it up, or only
/// wait for a processor.
///
/// On a machine with more threads than processors, a reader that is preempted inside its section
/// delays the grace period for a few time slices. A report of it would name a reader that does
/// nothing wrong, and another one each time. So a reader is reported if it sleeps inside its
/// section, or has used as much processor time as a section may take.
struct ReaderWatch {
  /// Nanoseconds that each reader had run when it was first seen, by its id.
  private var processorTimes: [Int32: UInt64] = [:]
  private var hasFoundNone = false

  /// The readers that the grace period of the flavor waits for, which has taken `duration`, and
  /// why. Nil if there is nothing to report yet.
  mutating func look(
    at flavor: UInt32, after duration: Duration
  ) -> (StallReport.Cause, [StallReport.Reader])? {
    var found = [qs_reader](repeating: qs_reader(), count: 16)
    let count = Int(qs_readers_holding(flavor, &found, UInt32(found.count)))
    return judge(found.prefix(count).map(Seen.init), after: duration)
  }

  /// A reader at one moment, as the kernel describes it.
  struct Seen {
    let id: Int32
    let name: String
    /// Nil: the kernel does not tell.
    let isAsleep: Bool?
    /// Nanoseconds; nil: the kernel does not tell.
    let processorTime: UInt64?
  }

  mutating func judge(
    _ found: [Seen], after duration: Duration
  ) -> (StallReport.Cause, [StallReport.Reader])? {
    if found.isEmpty {
      // The last one may have left just now, and the thread that waits has not run yet. Readers
      // that are still unknown at the next look are of other code.
      defer { hasFoundNone = true }
      return hasFoundNone ? (.foreign, []) : nil
    }
    hasFoundNone = false
    let readers = found.map { reader in
      let first = reader.processorTime.map { time in
        let first = processorTimes[reader.id] ?? time
        processorTimes[reader.id] = first
        return first
      }
      return StallReport.Reader(
        id: reader.id, name: reader.name, isAsleep: reader.isAsleep,
        processorTime: reader.processorTime.map { .nanoseconds(Int64(clamping: $0 - (first ?? $0))) })
    }
    if readers.contains(where: isStalled) { return (.readers, readers) }
    // No longer a matter of time slices: a processor that other threads never leave.
    return duration >= StallReports.threshold * 100 ? (.preemption, readers) : nil
  }

  private func isStalled(_ reader: StallReport.Reader) -> Bool {
    guard let isAsleep = reader.isAsleep, let processorTime = reader.processorTime else { return true }
    return isAsleep || processorTime >= StallReports.threshold
  }
}

extension ReaderWatch.Seen {
  init(_ reader: qs_reader) {
    self.init(
      id: reader.id,
      name: withUnsafeBytes(of: reader.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) },
      isAsleep: reader.state == 0 ? nil : reader.state != CChar(UInt8(ascii: "R")),
      processorTime: reader.processor_time == .max ? nil : reader.processor_time)
  }
}
