internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Per-processor counts that each user tries to take; an unload stops all processors for a
  /// moment. Rusty Russell's.
  public static let tryAcquire = UnloadScheme(
    "try-acquire",
    "try_module_get on per-processor counts; the unload stops all processors to read them (bogolock)",
    source: "Rusty Russell, 26 November 2002; Linux 2.5.48 kernel/module.c",
    promises: [.noGracePeriod, .noWindow, .scalingGets, .noStarvation], busyErrno: EBUSY
  ) { _ in TryAcquire() }
}

/// Try to get the module, or fail; the counts are each processor's own, and the bogolock makes them
/// readable.
///
/// To get in: one restartable sequence tests that the module is live and adds to the processor's
/// slot. Each call of a hook does that: "call through a function pointer only while holding a
/// reference".
///
/// 1. the bogolock: the mode says that slots are not counted on, and
///    `membarrier(PRIVATE_EXPEDITED_RSEQ)` sends every thread that is between the test and the
///    addition back to the test. "Think of it as a rwlock", whose read side is no lock at all. From
///    here on the slots stand still; gets and puts use one atomic, which has a bias that keeps zero
///    away.
/// 2. the sum of the slots goes into the atomic, and the bias out, in one step.
/// 3. if the base reference is all there is, it is given up, and gets fail: the module is going.
///    Otherwise `EBUSY`, and back to the slots; users have not noticed.
/// 4. unregister, `exit`, and the manager frees. A call that read a hook before it was unregistered
///    fails at its get.
///
/// To wait, or by force: gets fail first, then the base is given up, and the last put starts 4. A
/// wait that is given up takes the base back unless the count is zero, then the bias, and then
/// gets count on the slots again.
///
/// Without restartable sequences the addition is atomic, in a `Memb` section with the test, and 1
/// is a grace period of `Memb`.
///
/// Objections (Adam J. Richter): error legs that no test reaches; a mount that fails although the
/// module could be loaded again (here a load waits for a module that is going); yet another "most
/// fundamental" lock.
final class TryAcquire: Scheme, Gate {
  private let slots = Primitive.Slots()
  private let count = BaseCount(bias: TryAcquire.bias)

  /// So large that no puts of what is counted on slots bring the atomic to zero.
  private static let bias = Int.max / 2

  private enum Phase: UInt32 {
    /// Sequences count on the slots.
    case live
    /// Atomic additions count on the slots, in sections of `Memb`.
    case shared
    /// The atomic counts: there are no slots, or all processors are stopped.
    case counted
    /// Gets fail.
    case going
  }

  init() { enter(livePhase) }

  deinit {
    slots.mode.pointee.store(Primitive.Slots.retired, ordering: .releasing)
    slots.recycle()
  }

  private var livePhase: Phase {
    if !slots.hasSlots { return .counted }
    return Primitive.Slots.isRestartable ? .live : .shared
  }

  private var phase: Phase {
    // Only what `enter` stores.
    Phase(
      rawValue: Primitive.Slots.phase(slots.mode.pointee.load(ordering: .acquiring))
        - Primitive.Slots.firstPhase)!
  }

  private func enter(_ phase: Phase) {
    let mode = Primitive.Slots.mode(
      Primitive.Slots.firstPhase + phase.rawValue, isLive: phase == .live)
    slots.mode.pointee.store(mode, ordering: .releasing)
  }

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }
  func enter() -> Int { get() ? 0 : -1 }
  func leave(_ token: Int) { put() }

  func get() -> Bool { slots.add(1) || getSlowly() }

  func put() { if !slots.add(-1) { putSlowly() } }

  private func getSlowly() -> Bool {
    Memb.read { _ in
      switch phase {
      case .shared:
        // In one section with the test: a stop that it did not see waits for the addition.
        slots.addAtomically(1)
        return true
      case .going: return false
      // Live again meanwhile: the atomic counts in every phase.
      case .live, .counted: return count.get()
      }
    }
  }

  private func putSlowly() {
    Memb.read { _ in
      if phase == .shared { return slots.addAtomically(-1) }
      count.put()
    }
  }

  var references: Int {
    let users = count.users
    return max(0, users > Self.bias / 2 ? users &- Self.bias &+ slots.sum : users)
  }

  func unload(_ operation: UnloadOperation) {
    if operation.mayWait { operation.begin() }
    let counters = operation.counters
    operation.makeExact(counters) { [self] in
      stop(operation) { [self] in
        if operation.mayWait { drain(operation, counters) } else { close(operation, counters) }
      }
    }
  }

  /// Steps 1 and 2.
  private func stop(_ operation: UnloadOperation, then next: @escaping @Sendable () -> Void) {
    let live = phase
    enter(.counted)
    let addUp: @Sendable () -> Void = { [self] in
      count.add(slots.sum &- Self.bias)
      slots.clear()
      next()
    }
    switch live {
    case .shared: return operation.afterReaders(addUp)
    case .live: Primitive.Slots.passBarrier(Primitive.Slots.nextBarrier)
    case .counted, .going: break
    }
    addUp()
  }

  /// Step 3, for an unload that does not wait.
  private func close(_ operation: UnloadOperation, _ counters: CounterSet) {
    if !counters.areUnused || !count.releaseBaseIfUnused() {
      return operation.restoreAndRefuse(counters, open)
    }
    enter(.going)
    operation.begin()
    // A call that ended before the stop may have counted on them.
    if !counters.areUnused {
      return operation.restoreAndRefuse(counters) {
        count.restoreBase()
        open()
      }
    }
    takeDown(operation, counters)
  }

  private func drain(_ operation: UnloadOperation, _ counters: CounterSet) {
    enter(.going)
    operation.begin()
    operation.tellUsers()
    operation.awaitZero(of: count, orElse: { [self] in operation.restoreService(counters, open) }) { [self] in
      takeDown(operation, counters)
    }
  }

  /// The base is there.
  private func open() {
    // The bias first: a put between the two must not find zero.
    count.add(Self.bias)
    enter(livePhase)
  }

  private func takeDown(_ operation: UnloadOperation, _ counters: CounterSet) {
    operation.unregisterInterfaces()
    let back: @Sendable () -> Void = { [self] in
      operation.restoreService(counters) {
        count.restoreBase()
        open()
      }
    }
    operation.awaitZero(of: counters, orElse: back) { operation.leave() }
  }
}
