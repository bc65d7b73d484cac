import Quiescence
import Synchronization

/// The state that the threads of one run share.
final class Scene<F: TortureFlavor>: Sendable {
  let options: TortureOptions
  let pools: [ElementPool]
  /// One per writer, to test that a box returns its old value.
  let boxes: [StampBox<F>]
  let presence: Presence
  let failures = FailureLog()
  let ledger: CallbackLedger
  let waits: WaitBoard
  let pausePoint = PausePoint()
  let affinity = Affinity()
  let readerTallies: [ReaderTally]
  /// Short-lived threads that have ended.
  let churned = Atomic<Int>(0)
  let readsOfChurned = Atomic<Int>(0)
  let updates = Atomic<Int>(0)
  /// How often a writer found no free element.
  let emptyPools = Atomic<Int>(0)
  let floods = Atomic<Int>(0)
  let longestFloodMicroseconds = Atomic<Int>(0)
  let forks = Atomic<Int>(0)
  let stutters = Atomic<Int>(0)
  let moves = Atomic<Int>(0)
  private let stopped = Atomic<Bool>(false)

  init(_ options: TortureOptions, waiters: [String]) {
    self.options = options
    pools = (0..<options.writers).map { _ in ElementPool() }
    boxes = (0..<options.writers).map { _ in StampBox() }
    presence = Presence(count: options.readers)
    readerTallies = (0..<options.readers).map { _ in ReaderTally() }
    waits = WaitBoard(names: waiters)
    ledger = CallbackLedger(presence: presence, failures: failures, dropsSome: options.breakage == .leak)
  }

  var isStopped: Bool { stopped.load(ordering: .relaxed) }

  /// Makes every thread end at its next test.
  func stop() {
    stopped.store(true, ordering: .relaxed)
    pausePoint.open()
  }

  /// Runs `wait` under the watchdog, and checks that it has waited for every section that was open
  /// before.
  ///
  /// - Parameter includesGracePeriod: Whether the wait must include a whole grace period.
  func watch(_ waiter: Int, _ way: Way, includesGracePeriod: Bool = true, _ wait: () -> Void) {
    let witnesses = presence.witnesses()
    waits.begin(waiter, way)
    wait()
    if includesGracePeriod { check(witnesses, after: way) }
    waits.end(waiter, way)
  }

  /// Checks a grace period that was requested after `witnesses` were seen.
  func check(_ witnesses: [Presence.Witness], after way: Way) {
    if let witness = presence.remaining(of: witnesses) {
      failures.record(
        .sectionErrors,
        "\(way.words) ended while reader \(witness.index) was in a section that was open before")
    }
  }
}

/// The counters of one reader.
final class ReaderTally: Sendable {
  /// Reads, by the age of the element at the end of the section.
  let ages = AtomicRow(Element.pipeLength + 1)
  /// Sections, by the number of grace periods that ended inside them. The last counter is for all
  /// higher numbers.
  let batches = AtomicRow(4)
  let counts = AtomicRow(Kind.allCases.count)

  enum Kind: Int, CaseIterable {
    case sections, nested, overlapping, held, boxes
  }

  @inline(__always)
  func bump(_ kind: Kind) { counts.bump(kind.rawValue) }

  /// Any thread.
  func count(_ kind: Kind) -> Int { counts[kind.rawValue] }
}

/// A box with a value whose consistency can be checked.
final class StampBox<F: Flavor>: Sendable {
  let box = RCUBox(Stamp(0), flavor: F.self)
  /// The last value that the writer has stored. Used by the writer alone.
  private let last = Atomic<UInt64>(0)

  /// Chooses the next value. Returns the number of the current one, and the new value.
  func turn(_ number: UInt64) -> (old: UInt64, new: Stamp) {
    (last.exchange(number, ordering: .relaxed), Stamp(number))
  }

  struct Stamp: Sendable {
    let number: UInt64
    private let checksum: UInt64

    init(_ number: UInt64) {
      self.number = number
      checksum = mix(~number)
    }

    var isWhole: Bool { checksum == mix(~number) }
  }
}
