/// Runs what was retired, after a grace period.
///
/// Each flavor has one that all code shares, behind `Memb.retire` and its like, and so has each
/// ``SleepableDomain``. Make one of your own for what must be limited, drained or destroyed apart
/// from the rest:
///
/// ```swift
/// let sessions = RCUReclaimer(named: "sessions", Memb.self, limit: RetireLimit(10_000, .wait))
/// sessions.retire { print("closed") }
/// sessions.barrier()
/// ```
///
/// Callbacks run outside every section, one at a time; what one thread retired runs in the order in
/// which it did. Retiring is an append to the thread's own queue: no lock, no cache line that
/// threads share. Every 64th allocates, and the first after a pause takes a lock. What it costs
/// does not depend on how many other threads have retired.
///
/// When the last reference to a reclaimer goes, what is left in it still runs, and then its thread
/// ends.
///
/// When the system refuses the reclaimer's thread, callbacks run on threads that wait for a
/// barrier, or that retire outside every section, until a later try succeeds.
///
/// Source: liburcu, `urcu/call-rcu.h`; C++26, `std::rcu_domain`; DPDK, `rte_rcu_qsbr_dq`.
public final class RCUReclaimer: Sendable {
  let core: ReclaimerCore

  /// What runs the callbacks.
  public struct Runner: Sendable {
    let executor: (any TaskExecutor)?

    /// A thread of the reclaimer, which starts with the first callback, takes no signals of other
    /// threads, and sleeps while there is nothing to do.
    public static let thread = Runner(executor: nil)

    /// A task on `executor`, one at a time. What runs on the executor must not block until the
    /// executor has run something else: see `barrier()`.
    public static func executor(_ executor: any TaskExecutor) -> Runner { Runner(executor: executor) }
  }

  /// - Parameters:
  ///   - name: of its thread, and in messages. The kernel shows 15 bytes of it.
  ///   - flavor: the reclaimer waits for its grace periods.
  ///   - limit: nil for none.
  ///   - runner: runs the callbacks.
  public init<F: Flavor>(
    named name: String, _ flavor: F.Type, limit: RetireLimit? = nil, runner: Runner = .thread
  ) {
    core = ReclaimerCore(
      named: name, F.domain,
      runner: ReclaimerRunner(named: name, waitingFor: F.domain, executor: runner.executor), limit: limit)
  }

  /// One whose callbacks `executor` runs; or a thread that waits for its `barrier()`, as for a
  /// cohort's.
  package init<F: Flavor>(named name: String, _ flavor: F.Type, helping executor: any TaskExecutor) {
    core = ReclaimerCore(
      named: name, F.domain,
      runner: ReclaimerRunner(named: name, waitingFor: F.domain, executor: executor), sharesRunner: true,
      limit: nil)
  }

  init(_ core: ReclaimerCore) {
    self.core = core
  }

  deinit {
    core.abandon()
  }

  /// A part of what is retired that can be drained alone: one module's callbacks, say.
  ///
  /// It has a limit and statistics of its own. This reclaimer's thread runs its callbacks; or the
  /// thread or task that waits for the cohort's `barrier()` does, so that it never waits for the
  /// callbacks of others.
  public func cohort(named name: String, limit: RetireLimit? = nil) -> RCUReclaimer {
    RCUReclaimer(
      ReclaimerCore(
        named: name, core.gracePeriods, runner: core.runner, sharesRunner: true, limit: limit))
  }

  /// How many callbacks may wait; nil for any number. Any thread, at any time.
  ///
  /// A limit that you set is kept: at no moment do more callbacks wait, except those that callbacks
  /// retire in turn, which are never held up, and those that wait already when the limit is
  /// lowered. It counts what waits, not what threads may use: idle threads take no room. A thread
  /// that retires when the reclaimer is full does what the policy says. Where that would wait for
  /// itself, it traps with one line: inside a section of the reclaimer's flavor (an online `QSBR`
  /// reader is always inside one), and inside the closure of a box's `update` or `replace`, whose
  /// box a reader may wait for. `tryRetire` under the policy to refuse throws there, and never
  /// traps. A section that suspends is not seen: retire there by `tryRetire`, or without a limit.
  ///
  /// A flavor's shared reclaimer starts with a limit that the library chose: a million callbacks,
  /// and more wait. Inside a section of any flavor and inside an update it exceeds that limit. A
  /// ``SleepableDomain`` starts without a limit.
  ///
  /// - Complexity: a lock; setting it, O(threads that retire now) and a `membarrier(2)` call.
  public var limit: RetireLimit? {
    get { core.state.withLock { $0.limit } }
    set {
      core.state.withLock { $0.setLimit(newValue) }
      core.openToProducers()
    }
  }
}

// MARK: - Retiring

extension RCUReclaimer {
  /// Releases `object` after a grace period: until then, readers that found it may use it.
  ///
  /// Unpublish the object first: what readers can still find after this call is not protected.
  ///
  /// - Complexity: an append to the thread's own queue; waits only at the ``limit``.
  /// - Threads: any, also inside a section.
  public func retire<Object: AnyObject & Sendable>(_ object: consuming Object) {
    _ = core.enqueue(Callback(releasing: object))
  }

  /// Destroys `value` after a grace period. For noncopyable values; an object needs no box.
  ///
  /// - Complexity: an allocation and an append to the thread's own queue; waits only at the
  ///   ``limit``.
  /// - Threads: any, also inside a section.
  public func retireValue<Value: ~Copyable & Sendable>(_ value: consuming Value) {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    _ = core.enqueue(Callback(destroying: pointer))
  }

  /// Runs `body` after a grace period.
  ///
  /// - Complexity: an allocation and an append to the thread's own queue; waits only at the
  ///   ``limit``.
  /// - Threads: any, also inside a section.
  public func retire(_ body: @escaping @Sendable () -> Void) {
    _ = core.enqueue(Callback(running: body))
  }

  /// Calls `function` with `argument` after a grace period.
  ///
  /// - Safety: `argument` must stay valid until then, and so must the code of `function`: see
  ///   `barrier()`.
  /// - Complexity: an append to the thread's own queue; waits only at the ``limit``.
  /// - Threads: any, also inside a section.
  public func unsafeRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) {
    _ = core.enqueue(Callback(calling: function, with: argument))
  }

  /// Has `type` reclaim what is at `pointer` after a grace period. No allocation.
  @usableFromInline
  package func unsafeRetire(_ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type) {
    _ = core.enqueue(Callback(reclaiming: pointer, by: type))
  }

  /// Whether its grace periods are those of `flavor`.
  @usableFromInline
  package func waits<F: Flavor>(for flavor: F.Type) -> Bool { core.gracePeriods === flavor.domain }

  /// As `retire`, but throws when the reclaimer is full and its policy is `.refuse`. The object is
  /// not released then: readers may be using it, so keep it, and retire it later.
  public func tryRetire<Object: AnyObject & Sendable>(_ object: Object) throws(RetireError) {
    let callback = Callback(releasing: object)
    if !core.enqueue(callback, whenFull: .mayRefuse) {
      callback.cancelRelease()
      throw refusal
    }
  }

  /// As `retire`, but throws when the reclaimer is full and its policy is `.refuse`.
  public func tryRetire(_ body: @escaping @Sendable () -> Void) throws(RetireError) {
    let callback = Callback(running: body)
    if !core.enqueue(callback, whenFull: .mayRefuse) {
      callback.cancelRelease()
      throw refusal
    }
  }

  /// As `unsafeRetire`, but throws when the reclaimer is full and its policy is `.refuse`.
  public func unsafeTryRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) throws(RetireError) {
    if !core.enqueue(Callback(calling: function, with: argument), whenFull: .mayRefuse) { throw refusal }
  }

  /// As ``retire(_:)-(Object)``, but at the ``limit``, whatever its policy, the task suspends until
  /// there is room. A thread of the pool is not blocked.
  ///
  /// Call it outside sections of the reclaimer's ``SleepableDomain``, whose end the room may wait
  /// for. The wait is not cancelled with the task: the object is retired in any case.
  ///
  /// - Complexity: as `retire`; where it suspends, a lock and a resumption each time room comes.
  public func retireSuspending<Object: AnyObject & Sendable>(_ object: consuming Object) async {
    await core.enqueueSuspending(Callback(releasing: object))
  }

  /// As ``retireValue(_:)``; suspends as ``retireSuspending(_:)-(Object)``.
  public func retireValueSuspending<Value: ~Copyable & Sendable>(_ value: consuming Value) async {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    await core.enqueueSuspending(Callback(destroying: pointer))
  }

  /// Runs `body` after a grace period; suspends as ``retireSuspending(_:)-(Object)``.
  public func retireSuspending(_ body: @escaping @Sendable () -> Void) async {
    await core.enqueueSuspending(Callback(running: body))
  }

  /// Has `type` reclaim what is at `pointer` after a grace period; suspends as
  /// ``retireSuspending(_:)-(Object)``.
  @usableFromInline
  package nonisolated(nonsending) func unsafeRetireSuspending(
    _ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type
  ) async {
    await core.enqueueSuspending(Callback(reclaiming: pointer, by: type))
  }

  private var refusal: RetireError {
    RetireError(reclaimer: core.name, limit: limit?.count ?? 0)
  }
}
