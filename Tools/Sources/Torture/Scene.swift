import Quiescence
import Synchronization

/// What the threads of one run share.
final class Scene<F: TortureFlavor>: Sendable {
  let options: TortureOptions
  let pools: [ElementPool]
  /// One a writer, for what only a box can do: give the old value back.
  let boxes: [StampBox<F>]
  let presence: Presence
  let failures = FailureLog()
  let ledger: CallbackLedger
  let waits: WaitBoard
  let gate = Gate()
  let affinity = Affinity()
  let readerTallies: [ReaderTally]
  /// Threads that were started for a moment and have ended.
  let churned = Atomic<Int>(0)
  let readsOfChurned = Atomic<Int>(0)
  let updates = Atomic<Int>(0)
  /// Times that a writer had no element left.
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

  /// Every thread ends at its next look.
  func stop() {
    stopped.store(true, ordering: .relaxed)
    gate.open()
  }

  /// Runs `wait`, which the watchdog then knows of, and checks that it has waited for every section that was open.
  ///
  /// - Parameter includesGracePeriod: That it must have.
  func watch(_ waiter: Int, _ way: Way, includesGracePeriod: Bool = true, _ wait: () -> Void) {
    let witnesses = presence.witnesses()
    waits.begin(waiter, way)
    wait()
    if includesGracePeriod { check(witnesses, after: way) }
    waits.end(waiter, way)
  }

  /// After a grace period that was asked for after `witnesses` were seen.
  func check(_ witnesses: [Presence.Witness], after way: Way) {
    if let witness = presence.remaining(of: witnesses) {
      failures.record(
        .sectionErrors,
        "\(way.words) ended while reader \(witness.index) was in a section that was open before")
    }
  }
}

/// What a reader counts, on its own.
final class ReaderTally: Sendable {
  /// Reads by the age that the element had at the end of the section.
  let ages = AtomicRow(Element.pipeLength + 1)
  /// Sections by how many grace periods ended inside them; the last stands for all above.
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

/// A box of a value that shows whether it is whole.
final class StampBox<F: Flavor>: Sendable {
  let box = RCUBox(Stamp(0), flavor: F.self)
  /// The writer's own: what it has put in last.
  private let last = Atomic<UInt64>(0)

  /// Chooses what to put in next. Returns what is in it now, and the new value.
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
