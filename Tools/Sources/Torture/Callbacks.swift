import Dispatch
import Quiescence
import Synchronization

/// What all callbacks of a run share: every one that was retired runs once.
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

  /// How many were retired and how many have run.
  var counts: (retired: Int, ran: Int) {
    // In this order: none that has run is missing among the retired.
    let ran = ran.load(ordering: .acquiring)
    return (posted.load(ordering: .acquiring), ran)
  }

  /// Before the retire. False: this one is to be dropped on purpose.
  fileprivate func post(mayBeDropped: Bool) -> Bool {
    let number = posted.add(1, ordering: .relaxed).newValue
    return !(dropsSome && mayBeDropped && number % 1000 == 0)
  }

  fileprivate func run() {
    ran.add(1, ordering: .releasing)
  }
}

/// Something to retire, again and again, which may retire itself in turn.
class CallbackEntry: @unchecked Sendable {
  // Unchecked for the witness: written before the retire, read by the callback, and between the two nobody looks.
  let ledger: CallbackLedger
  /// Set before the retire, cleared by the callback. Found cleared by the callback: it ran twice.
  private let pending = Atomic<Bool>(false)
  /// From the first retire until it has run and has not retired itself again.
  private let busy = Atomic<Bool>(false)
  /// A reader who was inside when it was retired.
  private var witness: Presence.Witness?

  init(ledger: CallbackLedger) {
    self.ledger = ledger
  }

  /// Whoever finds it idle may retire it again.
  final var isBusy: Bool { busy.load(ordering: .acquiring) }

  fileprivate final func prepare(witness: Presence.Witness?) {
    self.witness = witness
    busy.store(true, ordering: .relaxed)
    pending.store(true, ordering: .releasing)
  }

  /// What the callback does.
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
    // Before the count: whoever finds all counted finds what they retired counted too.
    if !finish() {
      busy.store(false, ordering: .releasing)
      atEnd()
    }
    ledger.run()
  }

  /// By a ledger that drops some on purpose.
  var mayBeDropped: Bool { true }

  /// A second opinion, by those who know the flavor.
  var isBeforeItsGracePeriod: Bool { false }

  /// After it has run. Returns whether it has retired itself again.
  func finish() -> Bool { false }

  /// After the last time, when it may be retired again by whoever hears of it.
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
        // The argument of the call that this one is an argument of.
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

/// A callback that retires itself a few times more, and looks at a polled grace period.
final class ChainedEntry<F: Flavor>: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base: the retire orders what is written here.
  private var cookie: GracePeriod<F>?
  private var left = 0
  private var choice: UInt64 = 0

  /// - Parameter links: How often it retires itself.
  func post(as kind: RetireKind, choosing choice: UInt64, links: Int = 0, polls: Bool = false) {
    left = links
    self.choice = choice
    // Started before the retire: it cannot be a later one than that of the callback.
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

/// A callback that somebody waits for.
final class SignallingEntry: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base.
  private let done = DispatchSemaphore(value: 0)

  /// Blocks until it has run. Once.
  func wait() { done.wait() }

  // What is dropped shall be missed at the end, and not be waited for.
  override var mayBeDropped: Bool { false }

  override func atEnd() { done.signal() }
}

/// An element that callbacks carry through the pipe.
final class ElementEntry<F: Flavor>: CallbackEntry, @unchecked Sendable {
  // Unchecked like its base. The choice is made by one callback after the other.
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
