internal import Synchronization
internal import _QuiescenceShims

/// Runs what was retired, after a grace period.
///
/// Each flavor has one that everybody shares, behind `Memb.retire` and its like. Make one of your own for what must be
/// limited, drained or destroyed apart from the rest:
///
/// ```swift
/// let sessions = RCUReclaimer(named: "sessions", Memb.self, limit: RetireLimit(10_000, .wait))
/// sessions.retire { print("closed") }
/// sessions.barrier()
/// ```
///
/// Callbacks run outside every section; what one thread retired runs in the order in which it did. Retiring is
/// an append to the thread's own queue: no lock, no cache line that threads share. Every 64th allocates, and the first of
/// a thread takes a lock.
///
/// When the last reference to a reclaimer goes, what is left in it runs still, and then its thread ends.
///
/// Source: liburcu, `urcu/call-rcu.h`; C++26, `std::rcu_domain`; DPDK, `rte_rcu_qsbr_dq`.
public final class RCUReclaimer: Sendable {
  let core: ReclaimerCore

  /// Who runs the callbacks.
  public struct Runner: Sendable {
    let executor: (any TaskExecutor)?
    let host: ReclaimerCore?

    /// A thread of the reclaimer, which starts with the first callback, has every signal blocked, and sleeps while there
    /// is nothing to do.
    public static let thread = Runner(executor: nil, host: nil)

    /// A task on `executor`, one at a time. The executor must not be waited for by what runs on it: see `barrier()`.
    public static func executor(_ executor: any TaskExecutor) -> Runner {
      Runner(executor: executor, host: nil)
    }
  }

  /// - Parameters:
  ///   - name: of its thread, and in messages. The kernel shows 15 bytes of it.
  ///   - flavor: whose grace periods it waits for.
  ///   - limit: nil for none.
  ///   - runner: who runs the callbacks.
  public init<F: Flavor>(
    named name: String, _ flavor: F.Type, limit: RetireLimit? = nil, runner: Runner = .thread
  ) {
    core = ReclaimerCore(
      named: name, domain: F.domain, place: nil, host: runner.host, executor: runner.executor, limit: limit)
  }

  /// The one of a whole flavor: for ``Flavor/reclaimer`` of a flavor that you make, once.
  ///
  /// Its limit is a million callbacks, and whoever retires more waits: see ``limit``.
  public init<F: Flavor>(named name: String, defaultOf flavor: F.Type) {
    let short = name.hasPrefix("rcu-") ? String(name.dropFirst(4)) : name
    core = ReclaimerCore(
      named: name, domain: FlavorDomain(F.self, threadName: "gp-\(short)"),
      place: F.number < 0 ? nil : UInt32(F.number), limit: RetireLimit(1 << 20, .wait))
  }

  private init(_ core: ReclaimerCore) {
    self.core = core
  }

  deinit {
    core.abandon()
  }

  /// A part of what is retired that can be drained alone: one module's callbacks, say.
  ///
  /// It has a limit and statistics of its own. This reclaimer's thread runs its callbacks; or the thread that waits
  /// for the cohort's `barrier()` does, so that it never waits for anybody else's.
  public func cohort(named name: String, limit: RetireLimit? = nil) -> RCUReclaimer {
    // One of a cohort belongs to the same thread.
    RCUReclaimer(
      ReclaimerCore(named: name, domain: core.domain, place: nil, host: core.host ?? core, limit: limit))
  }

  /// How much may wait; nil for any number. Any thread, at any time; what waits already stays.
  ///
  /// Callbacks that retire in turn are not held up by it. A thread that retires inside a section when the reclaimer is
  /// full traps, unless the policy is to refuse and it asked by `tryRetire`: waiting would wait for itself. An online
  /// `QSBR` reader is always inside one. With fewer places than threads, each thread may keep one.
  public var limit: RetireLimit? {
    get { core.state.withLock { $0.limit } }
    set {
      core.state.withLock { state in
        state.limit = newValue
        for queue in state.queues { queue.revoke() }
      }
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
  /// - Complexity: an allocation and an append to the thread's own queue; waits only at the ``limit``.
  /// - Threads: any, also inside a section.
  public func retireValue<Value: ~Copyable & Sendable>(_ value: consuming Value) {
    let pointer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    pointer.initialize(to: value)
    _ = core.enqueue(Callback(destroying: pointer))
  }

  /// Runs `body` after a grace period.
  ///
  /// - Complexity: an allocation and an append to the thread's own queue; waits only at the ``limit``.
  /// - Threads: any, also inside a section.
  public func retire(_ body: @escaping @Sendable () -> Void) {
    _ = core.enqueue(Callback(running: body))
  }

  /// Calls `function` with `argument` after a grace period.
  ///
  /// Unsafe: `argument` must stay valid until then, and so must the code of `function`: see `barrier()`.
  ///
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
  package func waits<F: Flavor>(for flavor: F.Type) -> Bool { core.domain === flavor.domain }

  /// As `retire`, but throws when the reclaimer is full and its policy is `.refuse`. The object is not released then:
  /// readers may be using it, so keep it, and retire it later.
  public func tryRetire<Object: AnyObject & Sendable>(_ object: Object) throws(RetireError) {
    let callback = Callback(releasing: object)
    if !core.enqueue(callback, mayRefuse: true) {
      callback.cancelRelease()
      throw refusal
    }
  }

  /// As `retire`, but throws when the reclaimer is full and its policy is `.refuse`.
  public func tryRetire(_ body: @escaping @Sendable () -> Void) throws(RetireError) {
    let callback = Callback(running: body)
    if !core.enqueue(callback, mayRefuse: true) {
      callback.cancelRelease()
      throw refusal
    }
  }

  /// As `unsafeRetire`, but throws when the reclaimer is full and its policy is `.refuse`.
  public func unsafeTryRetire(
    _ argument: UnsafeMutableRawPointer?,
    with function: @escaping @convention(c) @Sendable (UnsafeMutableRawPointer?) -> Void
  ) throws(RetireError) {
    if !core.enqueue(Callback(calling: function, with: argument), mayRefuse: true) { throw refusal }
  }

  private var refusal: RetireError {
    RetireError(code: .limitReached, reclaimer: core.name, limit: limit?.count ?? 0)
  }
}

// MARK: - Draining

extension RCUReclaimer {
  /// Blocks until everything retired before this call has run, and whatever that retires in turn.
  ///
  /// Includes a grace period, even when nothing was retired. Code that is about to be unmapped needs this
  /// after it stopped retiring (Documentation/RCU/rcubarrier.rst). Callbacks that retire themselves
  /// for ever keep it waiting for ever.
  ///
  /// Traps inside a section and inside a retired callback, where it would wait for itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public func barrier() { wait("barrier()") }

  /// Suspends until everything retired before this call has run, and whatever that retires in turn.
  public func barrier() async {
    await suspended { afterCallbacks(.task($0)) }
  }

  /// Blocks until everything retired has run, and the reclaimer's thread has ended.
  ///
  /// For an orderly end: nothing of the reclaimer runs any more when it returns, and nothing has leaked. Whoever retires
  /// afterwards starts the thread again. Traps as `barrier()` does.
  @available(*, noasync, message: "await shutdown() instead of blocking the task's thread")
  public func shutdown() {
    wait("shutdown()")
    if core.host != nil { return }
    let parker = Parker()
    core.afterEnd(.thread(parker))
    parker.wait()
  }

  /// Suspends until everything retired has run, and the reclaimer's thread has ended.
  public func shutdown() async {
    await barrier()
    if core.host == nil { await suspended { core.afterEnd(.task($0)) } }
  }

  private func wait(_ what: String) {
    if core.domain.isInside() { Misuse.waitInSection(what, core.domain.name) }
    if qs_thread_reclaims() { Misuse.waitInCallback(what, core.domain.name) }
    if core.host != nil { return core.drain() }
    let parker = Parker()
    core.afterCallbacks(.thread(parker))
    parker.wait()
  }

  /// As ``barrier()-(Void)`` of each of them, which are cohorts: the calling thread runs their callbacks, and those of one
  /// flavor share grace periods.
  package static func barrier(ofCohorts cohorts: [RCUReclaimer]) { ReclaimerCore.drain(cohorts.map(\.core)) }

  /// Calls `waiter` after a barrier; lets several wait at the same time.
  package func afterCallbacks(_ waiter: Waiter) {
    if core.host == nil { return core.afterCallbacks(waiter) }
    // The host's thread may be busy with somebody else's callbacks.
    let core = core
    ServiceThread.require(named: core.name) {
      core.drain()
      waiter.resume()
    }
  }
}
