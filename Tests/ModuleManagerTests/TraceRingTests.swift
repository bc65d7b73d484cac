import Quiescence
import TestSupport
import Testing

@testable import ModuleManager

/// The ring alone: concurrent writers and readers, and the texts that fit into a slot.
@Suite(.exclusive) struct TraceRingTests {
  /// An event of the races. All its parts follow from its writer and number.
  private struct Parts: Equatable {
    let writer: Int
    let count: Int

    var module: String { "writer-\(writer)" }
    // Labels have different lengths: a longer label leaves more in its slot.
    var label: String {
      "\(writer).\(count)." + String(repeating: Character("\(count % 10)"), count: count * 7 % 130)
    }
    var errno: Int32 { Int32(truncatingIfNeeded: count &* 31 &+ writer) }
    var duration: UInt64 { UInt64(count) &* 8 &+ UInt64(writer) }

    init(_ writer: Int, _ count: Int) {
      self.writer = writer
      self.count = count
    }

    /// The event that the parts describe; nil if they do not belong together.
    init?(_ event: TraceEvent) {
      let words = event.label.split(separator: ".", omittingEmptySubsequences: false)
      guard words.count == 3, let writer = Int(words[0]), let count = Int(words[1]) else { return nil }
      self.init(writer, count)
      let kind = TraceEvent.Kind(rawValue: UInt8(count % 13))
      if event.module != module || event.label != label || event.errno != errno || event.kind != kind
        || event.duration != .nanoseconds(Int64(duration)) || event.beginning != duration
      {
        return nil
      }
    }

    func write(to ring: TraceRing) {
      ring.write(
        TraceEvent.Kind(rawValue: UInt8(count % 13)), .end, module: module, label: label, errno: errno,
        duration: duration, beginning: duration + 1)
    }
  }

  /// Writers overtake each other by whole laps while readers copy what they write.
  ///
  /// Fails if the sequence is stored before the words, and without a reader's second test.
  @Test(arguments: [2, 8, 64])
  func eventsAreNotTornWhenWritersLap(capacity: Int) async {
    let ring = TraceRing(capacity: capacity)
    let wrong = Lines()
    let isDone = Counter()
    let reading = Counter(2)
    let writing = Counter(3)
    await onThreads(5) { index in
      Affinity.keep(index)
      if index >= 2 {
        var count = 0
        while isDone.value == 0 {
          Parts(index, count).write(to: ring)
          count += 1
          // Time for readers, which need a moment in which a slot is finished.
          if count % 50 == 0 { Primitive.yield() }
        }
        writing.add(-1)
        return
      }
      var cursor: UInt64 = 0
      var seen = [Int](repeating: -1, count: 5)
      var read: UInt64 = 0
      var lost: UInt64 = 0
      var last: UInt64?
      // After the last writer: then every event is finished.
      while true {
        let isLast = writing.value == 0
        let (events, missed) = ring.read(from: &cursor, upTo: .max)
        read += UInt64(events.count)
        lost += missed
        for event in events {
          if let last, event.number <= last { wrong.add("\(event.number) after \(last)") }
          last = event.number
          guard let parts = Parts(event), parts.count > seen[parts.writer] else {
            wrong.add("\(event)")
            continue
          }
          seen[parts.writer] = parts.count
        }
        if isLast { break }
        if read >= 2000 && lost >= 2000 || !wrong.all.isEmpty {
          if reading.add(-1) == 0 { isDone.add(1) }
          while isDone.value == 0 { Primitive.yield() }
        }
      }
      if cursor != ring.end || read + lost != ring.end { wrong.add("\(read) + \(lost) of \(ring.end)") }
    }
    #expect(wrong.all.isEmpty, "\(wrong.all.prefix(3))")
  }

  /// A writer is interrupted in its slot for more than a lap. No other writer uses the slot, and no
  /// reader waits for it.
  ///
  /// Fails without the claim of a slot, without the test whether it is finished, and without the
  /// mark of an event that was given up.
  @Test func writerInterruptedInItsSlotDamagesNoEvent() {
    let ring = TraceRing(capacity: 2)
    var cursor: UInt64 = 0
    ring.write(.load, .begin, module: "slow", label: "slow too") { step in
      if step != .isInside { return }
      #expect(ring.read(from: &cursor, upTo: .max).events.isEmpty && cursor == 0, "it comes in a moment")
      for count in 1...2 { Parts(1, count).write(to: ring) }
      let (events, lost) = ring.read(from: &cursor, upTo: .max)
      #expect(events.compactMap(Parts.init) == [Parts(1, 1)] && lost == 2 && cursor == 3)
      for count in 3...4 { Parts(1, count).write(to: ring) }
    }
    let (events, lost) = ring.read(from: &cursor, upTo: .max)
    #expect(events.compactMap(Parts.init) == [Parts(1, 3)] && lost == 1 && cursor == 5)
    for count in 5...6 { Parts(1, count).write(to: ring) }
    #expect(ring.read(from: &cursor, upTo: .max).events.compactMap(Parts.init) == [Parts(1, 5), Parts(1, 6)])
  }

  /// A writer is interrupted before it claims its slot, until another writer has used the slot: the
  /// newer event stays.
  ///
  /// Fails without the comparison of the tickets, and if the comparison is separate from the claim.
  @Test(arguments: [TraceRing.Step.hasTicket, .hasLooked])
  func writerThatIsALapLateGivesUp(asleep: TraceRing.Step) {
    let ring = TraceRing(capacity: 2)
    var cursor: UInt64 = 0
    ring.write(.load, .begin, module: "slow", label: "") { step in
      if step != asleep { return }
      #expect(ring.read(from: &cursor, upTo: .max).lost == 0 && cursor == 0, "it comes in a moment")
      for count in 1...2 { Parts(1, count).write(to: ring) }
    }
    let (events, lost) = ring.read(from: &cursor, upTo: .max)
    #expect(events.compactMap(Parts.init) == [Parts(1, 1), Parts(1, 2)] && lost == 1)
  }

  /// A ring that is large enough loses nothing, and keeps the order of each thread.
  @Test func largeRingLosesNothing() async {
    let ring = TraceRing(capacity: 1 << 12)
    await onThreads(4) { writer in
      for count in 0..<1000 { Parts(writer, count).write(to: ring) }
    }
    var cursor: UInt64 = 0
    let (events, lost) = ring.read(from: &cursor, upTo: .max)
    #expect(lost == 0 && events.map(\.number) == Array(0..<4000))
    for writer in 0..<4 {
      let counts = events.compactMap(Parts.init).filter { $0.writer == writer }.map(\.count)
      #expect(counts == Array(0..<1000))
    }
  }

  @Test func readerLearnsHowManyEventsItMissed() {
    let ring = TraceRing(capacity: 3)
    #expect(ring.capacity == 4)
    var early: UInt64 = 0
    var late: UInt64 = 0
    for count in 0..<3 { Parts(0, count).write(to: ring) }
    #expect(ring.read(from: &early, upTo: 2).events.map(\.number) == [0, 1])
    #expect(ring.read(from: &early, upTo: 0).events.isEmpty)
    for count in 3..<10 { Parts(0, count).write(to: ring) }
    let (events, lost) = ring.read(from: &early, upTo: .max)
    #expect(events.map(\.number) == [6, 7, 8, 9] && lost == 4)
    #expect(ring.read(from: &early, upTo: .max).events.isEmpty)
    #expect(ring.read(from: &late, upTo: 1).lost == 6)
    #expect(ring.read(from: &late, upTo: 9).events.map(\.number) == [7, 8, 9])
  }

  @Test(arguments: [
    (String(repeating: "x", count: 64), String(repeating: "x", count: 64)),
    (String(repeating: "x", count: 65), String(repeating: "x", count: 61) + "…"),
    // 61 bytes are thirty and a half of these characters.
    (String(repeating: "é", count: 33), String(repeating: "é", count: 30) + "…"),
    // A letter and its accent, three bytes, are one character.
    (String(repeating: "e\u{301}", count: 22), String(repeating: "e\u{301}", count: 20) + "…"),
    ("a" + String(repeating: "👩‍👩‍👧", count: 4), "a👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧…"),
    ("e" + String(repeating: "\u{301}", count: 100), "…"),
    ("", ""),
  ])
  func textIsCutAtACharacter(text: String, kept: String) {
    let ring = TraceRing(capacity: 1)
    ring.write(.get, .moment, module: text, label: String(repeating: "y", count: 161))
    var cursor: UInt64 = 0
    let event = ring.read(from: &cursor, upTo: 1).events.first
    #expect(event?.module == kept)
    #expect(event?.label == String(repeating: "y", count: 157) + "…")
  }

  @Test func eventHasAllItsFields() {
    let ring = TraceRing(capacity: 8)
    let before = MonotonicClock.nanoseconds
    ring.write(.unload, .end, module: "m", label: "in use: é", errno: 16, duration: 77, beginning: 1)
    ring.write(.put, .moment, module: "m", label: "", errno: -5)
    var cursor: UInt64 = 0
    let events = ring.read(from: &cursor, upTo: .max).events
    #expect(events.map(\.kind) == [.unload, .put] && events.map(\.phase) == [.end, .moment])
    #expect(events.map(\.errno) == [16, -5] && events.map(\.duration) == [.nanoseconds(77), nil])
    #expect(events.map(\.beginning) == [0, nil] && events.map(\.label) == ["in use: é", ""])
    #expect(events.allSatisfy { $0.thread == ServiceThread.currentID })
    #expect(before <= events[0].nanoseconds && events[0].nanoseconds <= events[1].nanoseconds)
  }

  /// Tracing is turned on and off while threads record: no thread writes to a ring that was freed,
  /// and no ring leaks.
  ///
  /// Fails without the section in which the ring is used.
  @Test func tracingIsSwitchedWhileThreadsRecord() async {
    let tracer = Tracer()
    let wrong = Lines()
    let rings = Shared(Locked<[Weak]>([]))
    let isDone = Counter()
    await onThreads(4) { index in
      Affinity.keep(index)
      if index > 0 {
        while isDone.value == 0 {
          for _ in 0..<16 where tracer.isOn { tracer.record(.get, module: "m", label: "thread \(index)") }
          tracer.end(tracer.begin(.load, "n"))
        }
        return
      }
      var read = 0
      var rounds = 0
      while rounds < 2000 || read < 2000 {
        let follower = TraceFollower(TraceFilter())
        var (ring, cursor) = tracer.follow(capacity: 4, follower)
        for _ in 0..<rounds % 3 { Primitive.yield() }
        for event in ring.read(from: &cursor, upTo: .max).events {
          read += 1
          let isRight = event.module == "m" ? event.label.hasPrefix("thread ") : event.module == "n"
          if !isRight { wrong.add("\(event)") }
        }
        rings.value.withLock { if $0.count < 1000 { $0.append(Weak(ring)) } }
        tracer.unfollow(follower)
        rounds += 1
      }
      isDone.add(1)
    }
    #expect(wrong.all.isEmpty, "\(wrong.all.prefix(3))")
    #expect(!tracer.isOn)
    await Memb.barrier()
    #expect(rings.value.withLock { $0.count { $0.ring != nil } } == 0)
  }

  private struct Weak: Sendable {
    weak let ring: TraceRing?

    init(_ ring: TraceRing) { self.ring = ring }
  }
}
