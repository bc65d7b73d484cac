internal import Synchronization
internal import _QuiescenceShims

/// Keeps the library whole across `fork`: the child can read, synchronize and retire
/// without any call that prepares it.
///
/// Before the fork it waits until no grace period is under way, and takes every lock, so that the
/// child's copy of everything is consistent. The child has the forking thread alone: the others
/// leave the readers' lists, and service threads start again when they are needed. What was retired
/// and has not run yet runs in both processes.
///
/// Waiting for the grace period waits for the readers, so a thread that forks must hold no lock
/// that a reader takes inside a section. What the Swift runtime locks, such as the table of a
/// generic type's first uses, is not in this library's hands: fork when the process has warmed up,
/// or execute another program at once. A box that another thread was writing to stays locked for
/// the child's writers. Only a thread that forks inside a section cannot wait: if a grace period is
/// under way just then, the child may read, and traps when it waits.
enum ForkWatch {
  private static let state = Locked(State())

  private struct State {
    var domains: [FlavorDomain] = []
    /// Each leaves before it is freed.
    var cores: [UInt64: Unmanaged<ReclaimerCore>] = [:]
    /// The same.
    var runners: [ObjectIdentifier: Unmanaged<ReclaimerRunner>] = [:]
    /// Threads that belong to no flavor.
    var threads: [GracePeriodThread] = []
    /// The same.
    var sleepables: [ObjectIdentifier: Unmanaged<SleepableCore>] = [:]
    /// Those whose grace period is under way.
    var running: [ObjectIdentifier: SleepableCore] = [:]
    var isWatching = false
    /// Whether each domain's grace periods are held; from before a fork to after it.
    var held: [Bool] = []
  }

  static func add(_ domain: FlavorDomain) { watch { $0.domains.append(domain) } }

  private static func watch(_ change: (inout State) -> Void) {
    let starts = state.withLock { state in
      change(&state)
      defer { state.isWatching = true }
      return !state.isWatching
    }
    if starts { qs_fork_watch({ ForkWatch.before() }, { ForkWatch.parent() }, { ForkWatch.child() }) }
  }

  static func add(_ core: ReclaimerCore) { watch { $0.cores[core.id] = .passUnretained(core) } }
  static func remove(_ core: ReclaimerCore) { state.withLock { $0.cores[core.id] = nil } }

  static func add(_ runner: ReclaimerRunner) {
    state.withLock { $0.runners[ObjectIdentifier(runner)] = .passUnretained(runner) }
  }

  static func remove(_ runner: ReclaimerRunner) {
    state.withLock { $0.runners[ObjectIdentifier(runner)] = nil }
  }

  static func add(_ thread: GracePeriodThread) { watch { $0.threads.append(thread) } }

  /// How many forks lie between the first process and this one. What threads and tasks of another
  /// one wait for, they wait for there.
  static var generation: Int { forks.load(ordering: .relaxed) }
  private static let forks = Atomic<Int>(0)

  /// The process is a child that has callbacks of its parent to run, and no thread that does so
  /// yet.
  static var hasInherited: Bool { inherits.load(ordering: .relaxed) }
  private static let inherits = Atomic<Bool>(false)

  /// Starts what runs the callbacks of the parent: a barrier may wait for any of them.
  static func startInherited() {
    inherits.store(false, ordering: .relaxed)
    for runner in state.withLock({ Array($0.runners.values) }) {
      runner._withUnsafeGuaranteedRef { _ = $0.ensureRunning() }
    }
  }

  static func add(_ core: SleepableCore) {
    watch { $0.sleepables[ObjectIdentifier(core)] = .passUnretained(core) }
  }

  static func remove(_ core: SleepableCore) {
    state.withLock { $0.sleepables[ObjectIdentifier(core)] = nil }
  }

  /// A grace period of the domain is under way, or not any more: for the stall reports.
  static func note(_ core: SleepableCore, isRunning: Bool) {
    state.withLock { $0.running[ObjectIdentifier(core)] = isRunning ? core : nil }
  }

  /// Everything whose grace periods can stall now: the flavors, and the domains with one under way.
  static var stallSources: [any StallSource] {
    state.withLock { $0.domains as [any StallSource] + $0.running.values.map { $0 } }
  }

  static var domains: [FlavorDomain] { state.withLock { $0.domains } }

  /// Runs once what the child runs, on throwaway objects.
  ///
  /// At its first use the Swift runtime makes a generic type under locks of its own. If the child
  /// were first, and another thread of the parent held one of them at the fork, the child would
  /// wait for it for ever, in the handler.
  private static let rehearsal: Void = {
    // Of the flavor that calls nothing that a sandbox may forbid.
    let sequence = GracePeriodSequence {}
    let thread = GracePeriodThread(named: "rehearsal") { sequence.wait() }
    let runner = ReclaimerRunner(named: "rehearsal", waitingFor: nil)
    let core = ReclaimerCore(named: "rehearsal", MB.domain, runner: runner, limit: nil)
    let sleepable = SleepableCore(name: "rehearsal")
    let held = sequence.holdForFork(isInside: false)
    sequence.lockForFork()
    sequence.resetAfterFork(held: held)
    thread.lockForFork()
    thread.resetAfterFork()
    core.lockForFork()
    core.resetAfterFork()
    core.inheritSets(of: [core.id: core])
    runner.lockForFork()
    runner.resetAfterFork()
    sleepable.lockForFork()
    sleepable.resetAfterFork()
    StallMonitor.rehearseReset()
    var running: [ObjectIdentifier: SleepableCore] = [:]
    var others = running
    swap(&running, &others)
  }()

  private static func before() {
    _ = rehearsal
    // Not under the lock: a thread in a section that a grace period waits for may want it.
    var held: [Bool] = []
    while true {
      let domains = domains
      for domain in domains[held.count...] {
        held.append(domain.sequence.holdForFork(isInside: domain.isInside))
      }
      state.holdForFork()
      var isComplete = false
      state.whileHeld { state in
        isComplete = state.domains.count == held.count
        state.held = held
      }
      if isComplete { break }
      state.releaseAfterFork()
    }
    // Their grace periods are under way, and wait for this thread.
    var lostFlavors: UInt32 = 0
    state.whileHeld { state in
      for (domain, held) in zip(state.domains, state.held) {
        domain.sequence.lockForFork()
        domain.thread.lockForFork()
        if !held && domain.number >= 0 { lostFlavors |= 1 << UInt32(domain.number) }
      }
      for core in state.cores.values { core._withUnsafeGuaranteedRef { $0.lockForFork() } }
      for runner in state.runners.values { runner._withUnsafeGuaranteedRef { $0.lockForFork() } }
      for thread in state.threads { thread.lockForFork() }
      for core in state.sleepables.values { core._withUnsafeGuaranteedRef { $0.lockForFork() } }
    }
    qs_registry_before_fork(lostFlavors)
  }

  private static func parent() {
    qs_registry_after_fork_parent()
    state.whileHeld { state in
      for core in state.sleepables.values { core._withUnsafeGuaranteedRef { $0.releaseAfterFork() } }
      for thread in state.threads { thread.releaseAfterFork() }
      for runner in state.runners.values { runner._withUnsafeGuaranteedRef { $0.releaseAfterFork() } }
      for core in state.cores.values { core._withUnsafeGuaranteedRef { $0.releaseAfterFork() } }
      for (domain, held) in zip(state.domains, state.held) {
        domain.thread.releaseAfterFork()
        domain.sequence.releaseAfterFork(held: held)
      }
    }
    state.releaseAfterFork()
  }

  private static func child() {
    qs_registry_after_fork_child()
    forks.add(1, ordering: .relaxed)
    inherits.store(true, ordering: .relaxed)
    // Released after the lock: the last reference to a domain takes it.
    var running: [ObjectIdentifier: SleepableCore] = [:]
    state.whileHeld { state in
      for core in state.sleepables.values { core._withUnsafeGuaranteedRef { $0.resetAfterFork() } }
      swap(&running, &state.running)
      for thread in state.threads { thread.resetAfterFork() }
      for runner in state.runners.values { runner._withUnsafeGuaranteedRef { $0.resetAfterFork() } }
      var cores: [UInt64: ReclaimerCore] = [:]
      for (id, core) in state.cores {
        cores[id] = core._withUnsafeGuaranteedRef { $0 }
        core._withUnsafeGuaranteedRef { $0.resetAfterFork() }
      }
      for (domain, held) in zip(state.domains, state.held) {
        domain.thread.resetAfterFork()
        domain.sequence.resetAfterFork(held: held)
      }
      // Every lock is free again.
      for core in cores.values { core.inheritSets(of: cores) }
      CallbackRun.resetAfterFork()
    }
    StallMonitor.resetAfterFork()
    state.releaseAfterFork()
    withExtendedLifetime(running) {}
  }
}
