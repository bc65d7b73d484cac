internal import Quiescence
internal import Synchronization

/// What a ``Bigref`` points to: mode, bias and total, one slot a processor, and who waits.
struct Storage: @unchecked Sendable {
  // Unchecked for the pointers: everything behind them is atomic or under the lock.
  private let shared: UnsafeMutablePointer<Shared>
  private let slots: UnsafeMutableRawPointer

  /// So large that releases counted on `count` before the slots are added up never reach zero, so small
  /// that adding a sum of slots to it does not overflow.
  private static let bias = Int.max / 2

  /// A cache line each: two processors that count do not disturb each other.
  private static let stride = 64

  private struct Shared: ~Copyable {
    let phase = Atomic<Phase>(.live)
    /// Live and killed: biased, and the slots count as well. Confirmed and released: the exact count.
    let count = Atomic<Int>(Storage.bias + 1)
    let waiters = Locked<[Waiter]>([])
  }

  /// How far ``Bigref/kill()`` has come. Only the owner changes it.
  private enum Phase: UInt8, AtomicRepresentable {
    case live, killed, confirmed, released
  }

  init() {
    shared = .allocate(capacity: 1)
    shared.initialize(to: Shared())
    slots = .allocate(byteCount: Processor.count * Self.stride, alignment: Self.stride)
    for processor in 0..<Processor.count {
      slot(processor).initialize(to: Atomic(0))
    }
  }

  func retire() {
    Memb.retire { [self] in
      shared.deinitialize(count: 1)
      shared.deallocate()
      slots.deallocate()
    }
  }

  private func slot(_ processor: Int) -> UnsafeMutablePointer<Atomic<Int>> {
    (slots + processor * Self.stride).assumingMemoryBound(to: Atomic<Int>.self)
  }

  private var phase: Phase { shared.pointee.phase.load(ordering: .acquiring) }

  var isKilled: Bool { phase != .live }

  /// The caller is inside a `Memb` section, which spans the test of the mode and the add.
  func add(_ difference: Int) {
    if isKilled {
      let (old, new) = shared.pointee.count.add(difference, ordering: .acquiringAndReleasing)
      if difference > 0 && old <= 0 { Self.acquiredAfterZero() }
      if new < 0 { Self.releasedBelowZero() }
      if new == 0 { reachedZero() }
    } else {
      // The thread may have moved since: the add is atomic, so the slot stays right, only dearer.
      let processor = Processor.current % Processor.count
      slot(processor).pointee.wrappingAdd(difference, ordering: .relaxed)
    }
  }

  private var sum: Int {
    (0..<Processor.count).reduce(0) { $0 &+ slot($1).pointee.load(ordering: .relaxed) }
  }

  var isZero: Bool {
    phase == .released && shared.pointee.count.load(ordering: .acquiring) == 0
  }

  var approximateCount: Int {
    let phase = phase
    let count = shared.pointee.count.load(ordering: .acquiring)
    switch phase {
    // The slots count while the bias is in; afterwards `count` has their sum already.
    case .live, .killed: return max(0, count &- Self.bias &- 1 &+ sum)
    case .confirmed: return max(0, count - 1)
    case .released: return max(0, count)
    }
  }

  func beginKill() {
    let isFirst = shared.pointee.phase.compareExchange(
      expected: .live, desired: .killed, ordering: .acquiringAndReleasing
    ).exchanged
    if !isFirst { Self.killedTwice() }
  }

  func confirmKill() {
    // Everyone who saw the live mode has left its section: the slots stand still. Sum and bias
    // go in one step; see the protocol.
    let (_, count) = shared.pointee.count.add(sum &- Self.bias, ordering: .acquiringAndReleasing)
    if count < 1 { Self.releasedBelowZero() }
    shared.pointee.phase.store(.confirmed, ordering: .releasing)
  }

  /// Inside a section, as every add.
  func releaseOwner() {
    // First: whoever brings the count to zero after the owner must find that zero counts.
    shared.pointee.phase.store(.released, ordering: .releasing)
    add(-1)
  }

  func resurrect() {
    let phase = phase
    if phase != .confirmed && phase != .released { Self.resurrectedLive() }
    // The bias first: a late release in the killed mode must not find zero between the steps.
    shared.pointee.count.add(
      Self.bias &+ (phase == .released ? 1 : 0), ordering: .acquiringAndReleasing)
    for processor in 0..<Processor.count { slot(processor).pointee.store(0, ordering: .relaxed) }
    // Release: whoever sees the live mode sees cleared slots. The other order would wipe out what
    // a reader of the new mode has added.
    shared.pointee.phase.store(.live, ordering: .releasing)
  }

  func atZero(_ waiter: Waiter) {
    let isZeroNow = shared.pointee.waiters.withLock { waiters in
      // Under the lock that `reachedZero` takes after the count is zero: either this sees zero,
      // or that sees this waiter.
      if isZero { return true }
      waiters.append(waiter)
      return false
    }
    if isZeroNow { waiter.resume() }
  }

  private func reachedZero() {
    let woken = shared.pointee.waiters.withLock { waiters in
      defer { waiters = [] }
      return waiters
    }
    for waiter in woken { waiter.resume() }
  }

  @inline(never)
  private static func releasedBelowZero() -> Never {
    fatalError("Bigref.release without a reference: the count fell below zero")
  }

  @inline(never)
  private static func acquiredAfterZero() -> Never {
    fatalError("Bigref.acquire after the count reached zero: what it counts may be gone")
  }

  @inline(never)
  private static func killedTwice() -> Never {
    fatalError("Bigref.kill on a counter that was killed before")
  }

  @inline(never)
  private static func resurrectedLive() -> Never {
    fatalError("Bigref.resurrect on a counter that is live, or whose kill is under way")
  }
}
