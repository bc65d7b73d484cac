import Dispatch
import Quiescence
import Synchronization

/// The state that all callbacks of a run share. It checks that every retired callback runs once.
final class CallbackLedger: Sendable {
  let presence: Presence
  let failures: FailureLog
  private let dropsSome: Bool
  private let posted = Atomic<Int>(0)
  private let ran = Atomic<Int>(0)

  init(presence: Presence, failures: FailureLog, dropsSome: Bool) {
    self.presence = presence
    self.failures = failures
    self.dropsSome = dropsSome
  }

  /// How many callbacks were retired, and how many have run.
  var counts: (retired: Int, ran: Int) {
    // In this order, so that every callback in `ran` is also in `posted`.
    let ran = ran.load(ordering: .acquiring)
    return (posted.load(ordering: .acquiring), ran)
  }

  /// Call this before the retire. Returns false if this callback must be dropped on purpose.
  fileprivate func post(mayBeDropped: Bool) -> Bool {
    let number = posted.add(1, ordering: .relaxed).newValue
    return !(dropsSome && mayBeDropped && number % 1000 == 0)
  }

  fileprivate func run() {
    ran.add(1, ordering: .releasing)
  }
}

/// A callback that can be retired many times, and that may retire itself.
class CallbackEntry: @unchecked Sendable {
  // Unchecked for the witness: it is written before the retire and read by the callback, and
  // nothing else accesses it.
  let ledger: CallbackLedger
  /// Set before the retire, cleared by the callback. If the callback finds it cleared, the callback
  /// ran twice.
  private let pending = Atomic<Bool>(false)
  /// Set from the first retire until the callback has run without retiring itself again.
  private let busy = Atomic<Bool>(false)
  /// A reader that was inside at the time of the retire.
  private var witness: Presence.Witness?

  init(ledger: CallbackLedger) {
    self.ledger = ledger
  }

  /// An entry that is not busy may be retired again.
  final var isBusy: Bool { busy.load(ordering: .acquiring) }

  fileprivate final func prepare(witness: Presence.Witness?) {
    self.witness = witness
    busy.store(true, ordering: .relaxed)
    pending.store(true, ordering: .releasing)
  }

  /// The body of the callback.
  final func run() {
    let isEarly = witness.map(ledger.presence.isStillInside) ?? false
    if isEarly || isBeforeItsGracePeriod {
      ledger.failures.record(
        .earlyCallbacks,
        isEarly ? "a section was open that was open at the retire" : "no grace period had passed")
    }
    if !pending.exchange(false, ordering: .acquiringAndReleasing) {
      ledger.failures.record(.duplicateCallbacks, "it had run before, and was not retired since")
    }
    // Before the count: a thread that sees this callback counted also sees those that it has
    // retired.
    if !finish() {
      busy.store(false, ordering: .releasing)
      atEnd()
    }
    ledger.run()
  }

  /// Whether a ledger that drops some callbacks may drop this one.
  var mayBeDropped: Bool { true }

  /// A second check, for entries that know their flavor.
  var isBeforeItsGracePeriod: Bool { false }

  /// Called after the entry has run. Returns whether it has retired itself again.
  func finish() -> Bool { false }

  /// Called after the last run, when another thread may retire the entry again.
  func atEnd() {}
}

/// The ways to retire.
enum RetireKind: Int, CaseIterable {
  case closure, object, function
}

extension Flavor {
  /// Retires `entry`; its `run` is called after a grace period.
  static func post(_ entry: CallbackEntry, as kind: RetireKind, choosing choice: UInt64) {
    let presence = entry.ledger.presence
    entry.prepare(witness: presence.witness(Int(choice % UInt64(presence.count))))
    if !entry.ledger.post(mayBeDropped: entry.mayBeDropped) { return }
    switch kind {
    case .closure: retire { entry.run() }
    case .object: retire(RunsWhenReleased(entry))
    case .function:
      unsafeRetire(Unmanaged.passRetained(entry).toOpaque()) { entry in
        // The argument of the call that contains this closure.
        Unmanaged<CallbackEntry>.fromOpaque(entry!).takeRetainedValue().run()
      }
    }
  }
}

/// An object whose release is the callback.
private final class RunsWhenReleased: Sendable {
  private let entry: CallbackEntry

  init(_ entry: CallbackEntry) {
    self.entry = entry
  }

  deinit { entry.run() }
}

/// A callback that retires itself a few times, and tests a polled grace period.
final class ChainedEntry<F: Flavor>: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base: the retire orders these writes before the callback.
  private var cookie: GracePeriod<F>?
  private var left = 0
  private var choice: UInt64 = 0

  /// - Parameter links: How often the callback retires itself.
  func post(as kind: RetireKind, choosing choice: UInt64, links: Int = 0, polls: Bool = false) {
    left = links
    self.choice = choice
    // Started before the retire, so it ends no later than the grace period of the callback.
    cookie = polls ? F.startGracePeriod() : nil
    F.post(self, as: kind, choosing: choice)
  }

  override var isBeforeItsGracePeriod: Bool { cookie.map { !$0.isElapsed } ?? false }

  override func finish() -> Bool {
    if left == 0 { return false }
    left -= 1
    choice = mix(choice)
    cookie = nil
    F.post(self, as: RetireKind.allCases[Int(choice % 3)], choosing: choice)
    return true
  }
}

/// A callback that a thread waits for.
final class SignalingEntry: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base.
  private let done = DispatchSemaphore(value: 0)

  /// Blocks until the callback has run. Call this once.
  func wait() { done.wait() }

  // A dropped callback must be missing at the end of the run; a waiter would hang first.
  override var mayBeDropped: Bool { false }

  override func atEnd() { done.signal() }
}

/// An element that callbacks carry through the pipe.
final class ElementEntry<F: Flavor>: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base. Only one callback at a time uses `choice`.
  private let element: ElementReference
  private var choice: UInt64

  init(_ element: ElementReference, ledger: CallbackLedger, seed: UInt64) {
    self.element = element
    choice = seed
    super.init(ledger: ledger)
  }

  func start(as kind: RetireKind) {
    F.post(self, as: kind, choosing: choice)
  }

  override func finish() -> Bool {
    choice = mix(choice)
    if element.ageByOne() { return false }
    F.post(self, as: RetireKind.allCases[Int(choice % 3)], choosing: choice)
    return true
  }

  override func atEnd() { element.pointer.pointee.free() }
}
