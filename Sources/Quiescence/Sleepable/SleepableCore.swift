internal import Synchronization
internal import _QuiescenceShims

/// The grace periods of one ``SleepableDomain``.
///
/// Two cells take turns. `front` names the one that is open; the other is closed, and no section
/// is counted on it. A grace period:
///
/// 1. opens the other cell, makes it the front, and closes the one before;
/// 2. passes a barrier: a restartable sequence that saw the cell open has counted, or starts again
///    and finds it closed. From then on no section is counted on it any more, and a section that
///    leaves it takes the slow path;
/// 3. adds the slots to `count`, which holds a bias until then, so that sections that leave before
///    do not make it zero. One atomic step: the one that makes it zero, this step or the last
///    section to leave, ends the grace period.
///
/// No thread takes a sum while sections move between processors: the sum is taken when only `count`
/// changes. That is why the two counters a processor of Linux's SRCU (locks and unlocks) are one
/// here.
@usableFromInline
final class SleepableCore: Sendable {
  let name: String
  /// The open cell.
  nonisolated(unsafe) let front: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer>>
  let cells: (ProcessorCell, ProcessorCell)
  let state = Locked(State())
  private let completedCount = Atomic<UInt64>(0)
  /// When the running grace period began; 0 while none is running.
  let runningSince = Atomic<UInt64>(0)
  let stalls = StallCounter()

  /// Runs what is retired in all domains. It asks each domain for its grace periods, so that a
  /// section that sleeps for an hour holds up the callbacks of its own domain only.
  static let runner = ReclaimerRunner(named: "rcu-sleepable", waitingFor: nil)

  /// Begins grace periods that no caller has time to begin. It waits for no reader and runs no
  /// callback.
  static let starter: GracePeriodThread = {
    let thread = GracePeriodThread(named: "gp-sleepable") {}
    ForkWatch.add(thread)
    return thread
  }()

  /// How a cell counts. In its mode.
  enum Phase: UInt32 {
    /// On the slots, by restartable sequences.
    case open
    /// On the slots, by atomic adds inside `Memb` sections: there are no restartable sequences.
    case shared
    /// On `count`, inside `Memb` sections: there are no slots.
    case counted
    /// No section enters; sections that leave count on `count`.
    case closed

    var mode: UInt64 { ProcessorCell.mode(ProcessorCell.firstPhase + rawValue, isLive: self == .open) }
  }

  /// Out of reach of any number of sections that leave.
  static let bias = Int.max / 2

  struct State {
    /// The last that has begun.
    var started: UInt64 = 0
    /// From the request for one to its end.
    var isRunning = false
    /// For the one that has begun.
    var waiters: [Waiter] = []
    /// For the one that begins next.
    var nextWaiters: [Waiter] = []
    /// One has to begin after the one that is running.
    var isWanted = false
    var durations = DurationHistogram()
    /// In a forked child, what waited in the parent: see ``Waiter``.
    var lost: [Waiter] = []
    /// This process was forked while sections of other threads were open, which are never left
    /// here.
    var isBroken = false

    /// Returns whether none is under way, so that the caller has to begin it.
    mutating func want(_ waiter: Waiter?) -> Bool {
      if let waiter { nextWaiters.append(waiter) }
      isWanted = true
      defer { isRunning = true }
      return !isRunning
    }
  }

  init(name: String) {
    self.name = name
    cells = (Self.makeCell(), Self.makeCell())
    // A cache line of its own: every section loads it, and only grace periods write it.
    front = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
      .bindMemory(to: Atomic<UnsafeMutableRawPointer>.self, capacity: 1)
    front.initialize(to: Atomic(cells.0.pointer))
    cells.0.mode.pointee.store(Self.openPhase(cells.0).mode, ordering: .releasing)
    ForkWatch.add(self)
  }

  deinit {
    // Sections and waiters borrow the domain: there are none.
    ForkWatch.remove(self)
    for cell in [cells.0, cells.1] {
      cell.mode.pointee.store(ProcessorCell.retired, ordering: .releasing)
      cell.recycle()
    }
    front.deinitialize(count: 1)
    front.deallocate()
  }

  private static func makeCell() -> ProcessorCell {
    let cell = ProcessorCell()
    count(cell).initialize(to: Atomic(bias))
    cell.mode.pointee.store(Phase.closed.mode, ordering: .releasing)
    return cell
  }

  /// In the cell's state.
  static func count(_ cell: ProcessorCell) -> UnsafeMutablePointer<Atomic<Int>> {
    cell.state.assumingMemoryBound(to: Atomic<Int>.self)
  }

  static func openPhase(_ cell: ProcessorCell) -> Phase {
    if !cell.hasSlots { return .counted }
    return ProcessorCell.isRestartable ? .open : .shared
  }
}

// MARK: - Requests

extension SleepableCore {
  /// Calls `waiter` after a grace period that begins after this call. The caller spends the time to
  /// begin it: a few system calls, and no wait.
  func after(_ waiter: Waiter) {
    if want(waiter) { begin() }
  }

  /// Calls `waiter` after number `number`, which is at most `next`; at once when it has ended. One
  /// that is running is not followed by another: that would wait for sections that began since.
  func after(_ waiter: Waiter, number: UInt64) {
    let (isOver, begins) = state.withLock { state in
      if completed >= number { return (true, false) }
      if state.isBroken { Misuse.domainLostByFork(name) }
      if state.started < number { return (false, state.want(waiter)) }
      state.waiters.append(waiter)
      return (false, false)
    }
    if isOver { waiter.resume() }
    if begins { begin() }
  }

  /// Runs a grace period that begins after this call. Requests that come before it begins are one.
  func request() {
    if want(nil) { beginElsewhere() }
  }

  /// Returns whether none is under way, so that the caller has to begin it.
  private func want(_ waiter: Waiter?) -> Bool {
    state.withLock { state in
      if state.isBroken { Misuse.domainLostByFork(name) }
      return state.want(waiter)
    }
  }

  /// The number of the first that begins after this call.
  var next: UInt64 { state.withLock { $0.started + 1 } }

  /// The last one that has ended.
  var completed: UInt64 { completedCount.load(ordering: .acquiring) }

  var statistics: GracePeriodStatistics {
    let durations = state.withLock { $0.durations }
    return GracePeriodStatistics(
      gracePeriods: Int(completed), durations: durations, stalls: stalls.count)
  }

  /// A grace period waits for sections, and has taken the sum.
  var isDraining: Bool {
    [cells.0, cells.1].contains { Self.count($0).pointee.load(ordering: .acquiring) < Self.bias / 2 }
  }

  /// Open ones; exact while no section is entered or left.
  var sections: Int {
    var sections = 0
    for cell in [cells.0, cells.1] {
      let count = Self.count(cell).pointee.load(ordering: .relaxed)
      // The slots are in `count` when the bias is not.
      sections += count > Self.bias / 2 ? count - Self.bias + cell.sum : count
    }
    return max(0, sections)
  }
}

// MARK: - Grace periods for the reclaimer

extension SleepableCore: GracePeriodSource {
  var title: String { "SleepableDomain \"\(name)\"" }

  /// Sections that suspend are not seen: they belong to no thread.
  var isInside: Bool {
    var frame = qs_sleepable_innermost()
    while let current = frame {
      if current.pointee.domain == UnsafeRawPointer(front) { return true }
      frame = current.pointee.outer
    }
    // Without restartable sequences a grace period waits for one of Memb.
    return Memb.isInside
  }

  var isLost: Bool { state.withLock { $0.isBroken } }

  func checkNotInside(_ what: String) {
    if !isInside { return }
    if Memb.isInside { Misuse.waitInSection("synchronize() by SleepableDomain.\(what)", "Memb") }
    Misuse.waitInDomain(what, name)
  }

  /// Blocks until a grace period has passed that begins after this call.
  func wait() {
    let parker = Parker()
    after(.thread(parker))
    parker.wait()
  }

  /// The same for a task.
  func waitSuspended() async { await suspended { after(.task($0)) } }
}

// MARK: - One grace period

extension SleepableCore {
  private func beginElsewhere() {
    // Without that thread the caller does: slower for a reader that leaves, and nothing is lost.
    if !Self.starter.after(.call { [self] in begin() }) { Self.starter.serve() }
  }

  /// Steps 1 to 3. By the thread that set `isRunning`, once until ``finish(_:)``.
  private func begin() {
    startNext()
    let (old, isRestartable) = flip()
    if !isRestartable { return Memb.afterGracePeriod(.call { [self] in addUp(old) }) }
    ProcessorCell.passBarrier(ProcessorCell.nextBarrier)
    // What the sections read that have left by a sequence is read: leaving is a plain store.
    qs_fence_heavy()
    addUp(old)
  }

  func startNext() {
    state.withLock { state in
      // Here and not at the request: a request that comes in between shares this one, and a number
      // that was taken in between is this one's.
      state.started += 1
      swap(&state.waiters, &state.nextWaiters)
      state.isWanted = false
    }
    runningSince.store(MonotonicClock.nanoseconds, ordering: .relaxed)
    ForkWatch.note(self, isRunning: true)
    StallMonitor.noteStart()
  }

  /// Returns the cell that was open, and whether restartable sequences count on it.
  func flip() -> (old: ProcessorCell, isRestartable: Bool) {
    let old = ProcessorCell(front.pointee.load(ordering: .relaxed))
    let new = old.pointer == cells.0.pointer ? cells.1 : cells.0
    // A section that finds the new cell open also finds everything unpublished that was unpublished
    // before the request: it loads the mode without order, and then what it reads.
    if ProcessorCell.isRestartable { qs_fence_heavy() }
    // In this order: at every moment one of them is open, and `enterSlowly` finds it.
    new.mode.pointee.store(Self.openPhase(new).mode, ordering: .releasing)
    front.pointee.store(new.pointer, ordering: .releasing)
    let mode = old.mode.pointee.exchange(Phase.closed.mode, ordering: .acquiringAndReleasing)
    return (old, mode == Phase.open.mode)
  }

  func addUp(_ old: ProcessorCell) {
    let (_, count) = Self.count(old).pointee.add(old.sum &- Self.bias, ordering: .acquiringAndReleasing)
    if count == 0 { finish(old) }
  }

  /// On the thread that brought `count` to zero, often a reader that leaves: short. What the
  /// domain's reclaimer waits with is one waiter, however much was retired, and hands over one
  /// batch.
  func finish(_ old: ProcessorCell) {
    // Before the next request: that one opens the cell again.
    old.clear()
    // Release: see `enterOutsideOfSlots`.
    Self.count(old).pointee.store(Self.bias, ordering: .releasing)
    let duration = MonotonicClock.nanoseconds - runningSince.load(ordering: .relaxed)
    runningSince.store(0, ordering: .relaxed)
    ForkWatch.note(self, isRunning: false)
    let (waiters, isWanted) = state.withLock { state in
      completedCount.store(state.started, ordering: .releasing)
      state.durations.add(.nanoseconds(Int64(duration)))
      defer { state.waiters = [] }
      state.isRunning = state.isWanted
      return (state.waiters, state.isRunning)
    }
    // Not here: where requests never cease, a section that leaves would begin one grace period
    // after the other.
    if isWanted { beginElsewhere() }
    for waiter in waiters { waiter.resume() }
  }
}
