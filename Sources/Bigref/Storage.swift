public import Quiescence
internal import Synchronization

/// What a ``Bigref`` points to: a cell of the arena, with its mode and slots, and in it the total and who waits.
@usableFromInline
struct Storage: @unchecked Sendable {
  // Unchecked for the pointers: everything behind them is atomic, under the cell's lock, or the owner's alone.
  @usableFromInline
  let cell: ProcessorCell

  /// So large that releases counted on `count` before the slots are added up never reach zero, so small
  /// that adding a sum of slots to it does not overflow.
  static let bias = Int.max / 2

  /// In the cell.
  struct State: ~Copyable {
    /// Live and killed: biased, and the slots count as well. Confirmed and released: the exact count.
    let count = Primitive.Word(Storage.bias + 1)
    /// The barrier that the confirmation waits for. Only the owner's.
    var barrier: UInt64 = 0
    /// Whether anybody has ever waited. Set under the cell's lock, read without it.
    let isAwaited = Primitive.Flag(false)
    /// Under the cell's lock.
    var waiters: WaiterList?
    /// Set once. Its contents are under the cell's lock.
    let holders: HolderList?
  }

  /// How far ``Bigref/kill()`` has come. Only the owner changes it.
  enum Phase: UInt32 {
    /// Live: restartable sequences count on the slots. Who cannot run one counts on `count`.
    case live
    /// Live: without restartable sequences, atomic adds to the slots inside sections.
    case shared
    /// Live: without slots, or with holders to record, everything is on `count`.
    case counted
    /// No new holders that ask for a live counter.
    case killed
    /// The slots are in `count`.
    case confirmed
    /// The owner's reference is gone.
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
    // The confirmation would write to whatever has the cell next.
    if old == Phase.killed.mode { Misuse.destroyedWhileKilled() }
    Memb.unsafeRetire(cell.pointer) { pointer in
      // What was passed above.
      let storage = Storage(ProcessorCell(pointer!))
      storage.state.deinitialize(count: 1)
      storage.cell.recycle()
    }
  }

  private init(_ cell: ProcessorCell) { self.cell = cell }

  var state: UnsafeMutablePointer<State> { cell.state.assumingMemoryBound(to: State.self) }

  /// Without restartable sequences a kill waits until the sections have ended that have seen the live mode.
  static var needsGracePeriod: Bool { !ProcessorCell.isRestartable }

  private var livePhase: Phase {
    if !cell.hasSlots || state.pointee.holders != nil { return .counted }
    return ProcessorCell.isRestartable ? .live : .shared
  }

  /// Traps when the counter was destroyed.
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
    // The slots count while the bias is in; afterwards `count` has their sum already.
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
    // After the mode: a barrier of this number has it be read.
    state.pointee.barrier = live == .live ? ProcessorCell.nextBarrier : 0
  }

  /// Returns what the counter was; ``addUp()`` may follow after a barrier, or a grace period.
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

  /// Everyone who saw the live mode has counted: the slots stand still. Sum and bias go in one step; see the protocol.
  func addUp() {
    if phase != .killed { Misuse.confirmedLive() }
    let (_, count) = state.pointee.count.add(cell.sum &- Self.bias, ordering: .acquiringAndReleasing)
    if count < 1 { Misuse.releasedBelowZero() }
    cell.mode.pointee.store(Phase.confirmed.mode, ordering: .releasing)
  }

  func releaseOwner() {
    // First: whoever brings the count to zero after the owner must find that zero counts.
    cell.mode.pointee.store(Phase.released.mode, ordering: .releasing)
    Memb.read { _ in release() }
  }

  func resurrect() {
    let phase = phase
    if phase != .confirmed && phase != .released { Misuse.resurrectedLive() }
    // The bias first: a late release in the killed mode must not find zero between the steps.
    let old = state.pointee.count.add(
      Self.bias &+ (phase == .released ? 1 : 0), ordering: .acquiringAndReleasing
    ).oldValue
    // Whoever brought it to zero may not have come to waking: it will find a counter that is not zero, or those who wait
    // for another zero.
    let woken = phase == .released && old == 0 ? cell.withLock(takeWaiters) : []
    cell.clear()
    // Release: whoever sees the live mode sees cleared slots. The other order would wipe out what
    // a reader of the new mode has added.
    cell.mode.pointee.store(livePhase.mode, ordering: .releasing)
    for waiter in woken { waiter.resume() }
  }
}
