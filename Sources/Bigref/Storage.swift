public import Quiescence
internal import Synchronization

/// The memory behind a ``Bigref``: a cell of the arena with the mode, the slots, the total, and the
/// list of waiters.
@usableFromInline
struct Storage: @unchecked Sendable {
  // Unchecked for the pointers: what they point to is atomic, guarded by the cell's lock, or used
  // by the owner alone.
  @usableFromInline
  let cell: ProcessorCell

  /// Large enough that releases counted on `count` never bring it to zero before the slots are
  /// added up; small enough that adding a sum of slots does not overflow.
  static let bias = Int.max / 2

  /// The part of the counter that is stored in the cell.
  struct State: ~Copyable {
    /// Live and killed: includes the bias, and the slots count too. Confirmed and released: the
    /// exact count.
    let count = Primitive.Word(Storage.bias + 1)
    /// The barrier that the confirmation needs. Used by the owner alone.
    var barrier: UInt64 = 0
    /// Whether any waiter was ever added. Stored under the cell's lock, loaded without it.
    let isAwaited = Primitive.Flag(false)
    /// Guarded by the cell's lock.
    var waiters: WaiterList?
    /// Set once. Its contents are guarded by the cell's lock.
    let holders: HolderList?
  }

  /// How far ``Bigref/kill()`` has come. Only the owner changes it.
  enum Phase: UInt32 {
    /// Live: restartable sequences count on the slots. A thread that cannot run one counts on
    /// `count`.
    case live
    /// Live, without restartable sequences: atomic additions to the slots, inside sections.
    case shared
    /// Live, without slots or with labels: everything is counted on `count`.
    case counted
    /// `tryAcquireLive` fails for threads that see this; others may still add to slots.
    case killed
    /// The sum of the slots is in `count`.
    case confirmed
    /// The owner's reference was released.
    case released

    var isLive: Bool { rawValue <= Phase.counted.rawValue }
    var mode: UInt64 {
      ProcessorCell.mode(ProcessorCell.firstPhase + rawValue, isLive: self == .live)
    }
  }

  init(recordingHolders: Bool) {
    precondition(MemoryLayout<State>.size <= ProcessorCell.stateSize)
    cell = ProcessorCell()
    cell.state.initializeMemory(
      as: UInt64.self, repeating: 0, count: ProcessorCell.stateSize / MemoryLayout<UInt64>.size)
    state.initialize(to: State(holders: recordingHolders ? HolderList() : nil))
    cell.mode.pointee.store(livePhase.mode, ordering: .releasing)
  }

  func retire() {
    let old = cell.mode.pointee.exchange(ProcessorCell.retired, ordering: .acquiringAndReleasing)
    // The confirmation would write to the next counter that gets this cell.
    if old == Phase.killed.mode { Misuse.destroyedWhileKilled() }
    Memb.unsafeRetire(cell.pointer) { pointer in
      // Not nil: `cell.pointer` was passed above.
      let storage = Storage(ProcessorCell(pointer!))
      storage.state.deinitialize(count: 1)
      storage.cell.recycle()
    }
  }

  private init(_ cell: ProcessorCell) { self.cell = cell }

  var state: UnsafeMutablePointer<State> { cell.state.assumingMemoryBound(to: State.self) }

  /// Whether a kill waits for a grace period: without restartable sequences, for the sections that
  /// have seen the live mode.
  static var needsGracePeriod: Bool { !ProcessorCell.isRestartable }

  private var livePhase: Phase {
    if !cell.hasSlots || state.pointee.holders != nil { return .counted }
    return ProcessorCell.isRestartable ? .live : .shared
  }

  /// The current phase. Traps if the counter was destroyed.
  var phase: Phase {
    let phase = ProcessorCell.phase(cell.mode.pointee.load(ordering: .acquiring))
    guard phase >= ProcessorCell.firstPhase, let phase = Phase(rawValue: phase - ProcessorCell.firstPhase)
    else { Misuse.usedAfterDestroyed() }
    return phase
  }
}

// MARK: - Totals

extension Storage {
  var isZero: Bool {
    phase == .released && state.pointee.count.load(ordering: .acquiring) == 0
  }

  var approximateCount: Int {
    let phase = phase
    let count = state.pointee.count.load(ordering: .acquiring)
    switch phase {
    // While `count` includes the bias, the slots count too; afterwards `count` includes their sum.
    case .live, .shared, .counted, .killed: return max(0, count &- Self.bias &- 1 &+ cell.sum)
    case .confirmed: return max(0, count - 1)
    case .released: return max(0, count)
    }
  }
}

// MARK: - Kill and resurrect

extension Storage {
  func beginKill() {
    let live = endLive()
    // After the mode was stored: every sequence that starts after a barrier of this number reads
    // the new mode.
    state.pointee.barrier = live == .live ? ProcessorCell.nextBarrier : 0
  }

  /// Stores the mode of a killed counter, and returns the phase before. ``addUp()`` may follow
  /// after a barrier or a grace period.
  @discardableResult
  func endLive() -> Phase {
    let live = phase
    let isFirst =
      live.isLive
      && cell.mode.pointee.compareExchange(
        expected: live.mode, desired: Phase.killed.mode, ordering: .acquiringAndReleasing
      ).exchanged
    if !isFirst { Misuse.killedTwice() }
    return live
  }

  func confirmKill() {
    ProcessorCell.passBarrier(state.pointee.barrier)
    addUp()
  }

  /// Every thread that saw the live mode has counted, so the slots no longer change. Sum and bias
  /// go into `count` in one step; see step 3 of the protocol.
  func addUp() {
    if phase != .killed { Misuse.confirmedLive() }
    let (_, count) = state.pointee.count.add(cell.sum &- Self.bias, ordering: .acquiringAndReleasing)
    if count < 1 { Misuse.releasedBelowZero() }
    cell.mode.pointee.store(Phase.confirmed.mode, ordering: .releasing)
  }

  func releaseOwner() {
    // The mode first: a release that brings the count to zero after the owner's must see that zero
    // is final.
    cell.mode.pointee.store(Phase.released.mode, ordering: .releasing)
    Memb.read { _ in release() }
  }

  func resurrect() {
    let phase = phase
    if phase != .confirmed && phase != .released { Misuse.resurrectedLive() }
    // The bias first: otherwise a late release in the killed mode could find zero between the
    // steps.
    let old = state.pointee.count.add(
      Self.bias &+ (phase == .released ? 1 : 0), ordering: .acquiringAndReleasing
    ).oldValue
    // The release that brought the count to zero may not have woken the waiters yet. When it gets
    // to that, it finds a counter that is not zero, or waiters for another zero; so wake them here.
    let woken = phase == .released && old == 0 ? cell.withLock(takeWaiters) : []
    cell.clear()
    // Release ordering: a thread that sees the live mode also sees cleared slots. In the other
    // order, clearing would erase what a thread in the new mode has added.
    cell.mode.pointee.store(livePhase.mode, ordering: .releasing)
    for waiter in woken { waiter.resume() }
  }
}
