public import Synchronization
public import _QuiescenceShims

/// Read-side critical sections that may suspend: across `await`, and on from another thread.
///
/// ```swift
/// let sessions = SleepableDomain("sessions")
/// let greeting = SleepableBox("hello", in: sessions)
/// let length = await sessions.read { section in
///   let text = greeting.load(section)
///   await Task.yield()                     // the version that was loaded stays
///   return text.value.count
/// }
/// await sessions.synchronize()             // every section that was open has been left
/// ```
///
/// A section counts itself on the processor that it enters on, and gives the count back on the one
/// that it leaves on. A grace period has later sections count elsewhere, and waits until the
/// earlier ones have left. Domains are independent: a section that sleeps for an hour holds up
/// the grace periods of its own domain, and nothing else.
///
/// | | `Memb` | `SleepableDomain` |
/// |---|---|---|
/// | a section | may not suspend, two stores | may suspend, two restartable sequences |
/// | a grace period waits for | every section of the process | the sections of the domain |
/// | what is chosen | at compile time | by instance |
///
/// Source: Paul McKenney, "Sleepable RCU", 2006; Linux kernel/rcu/srcutree.c; the protocol of the
/// counters is that of lib/percpu-refcount.c, see `Bigref`.
public struct SleepableDomain: ~Copyable, Sendable {
  @usableFromInline
  let core: SleepableCore

  /// The cell to count on; here as well, so that a read finds it without a look at the core.
  @usableFromInline
  nonisolated(unsafe) let front: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer>>

  /// Runs what is retired in the domain, after a grace period of the domain and of nothing else.
  ///
  /// Set its ``RCUReclaimer/limit``, look at its ``RCUReclaimer/statistics``, and retire through it
  /// as through any other. It has no limit at the start: a section that suspends belongs to no
  /// thread, so the library cannot know which threads may wait.
  public let reclaimer: RCUReclaimer

  /// Makes a domain without readers.
  ///
  /// - Parameter name: for ``StallReport``s and traps.
  /// - Complexity: two cells of 64 bytes, and 8 bytes a processor each once they are used. No
  ///   thread.
  public init(_ name: String = "unnamed") {
    // For the grace periods' barriers.
    qs_fence_use_membarrier()
    core = SleepableCore(name: name)
    front = core.front
    reclaimer = RCUReclaimer(
      ReclaimerCore(named: name, core, runner: SleepableCore.runner, sharesRunner: true, limit: nil))
  }

  /// The same domain, for what is published to its sections.
  @usableFromInline
  package init(sharing other: borrowing SleepableDomain) {
    core = other.core
    front = other.front
    reclaimer = other.reclaimer
  }

  /// As in reports.
  public var name: String { core.name }
}

// MARK: - Reading

extension SleepableDomain {
  /// Runs `body` inside one section.
  ///
  /// - Complexity: O(1); no allocation, no lock, no atomic instruction, no call.
  /// - Threads: any, also inside sections of this domain and of others.
  @inlinable @inline(__always)
  public borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: (inout SleepableSection) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    // Its address tells a wait for a grace period of this domain that it would wait for itself.
    var frame = qs_sleepable_frame(domain: UnsafeRawPointer(front), outer: qs_sleepable_innermost())
    return try withUnsafeMutablePointer(to: &frame) { frame throws(Failure) in
      qs_sleepable_set_innermost(frame)
      defer { qs_sleepable_set_innermost(frame.pointee.outer) }
      var section = SleepableSection(entering: self)
      return try body(&section)
    }
  }

  /// Runs `body` inside one section, which goes on while `body` is suspended, and on whatever
  /// thread it resumes.
  ///
  /// The section is left when `body` returns or throws, also when that is because its task was
  /// cancelled. A task that waits for a grace period of this domain in here waits for itself, and
  /// that is for ever: nothing but ``StallReports`` can tell.
  ///
  /// - Complexity: O(1); no lock, no atomic instruction. Memory as for any call of an `async`
  ///   function.
  /// - Threads: any task; runs on the caller's executor.
  @inlinable @inline(__always)
  public nonisolated(nonsending) borrowing func read<Result: ~Copyable, Failure: Error>(
    _ body: nonisolated(nonsending) (inout SleepableSection) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    var section = SleepableSection(entering: self)
    return try await body(&section)
  }
}

// MARK: - Grace periods

extension SleepableDomain {
  /// Blocks until every section of this domain that is open now has been left.
  ///
  /// Traps inside a section of this domain on the same thread, where it would wait for itself, and
  /// inside one of `Memb`.
  ///
  /// - Complexity: while no section is open, O(processors) and three `membarrier(2)` calls.
  ///   Concurrent callers share.
  /// - Threads: any. Hold no lock that a section takes.
  @available(*, noasync, message: "await synchronize() instead of blocking the task's thread")
  public func synchronize() {
    core.checkNotInside("synchronize()")
    core.wait()
  }

  /// Suspends until every section of this domain that is open now has been left; not at all while
  /// none is.
  ///
  /// It is not cancelled with the task: a grace period always ends when its readers leave.
  public func synchronize() async { await core.waitSuspended() }

  /// Starts a grace period and returns at once. It elapses by itself, without a thread that waits
  /// for it.
  ///
  /// - Complexity: a lock, no memory; wakes a thread of the library if none is under way. All
  ///   requests that come before the next grace period begins are one.
  /// - Threads: any, also inside a section: that is one of those that it waits for.
  public func startGracePeriod() -> SleepableGracePeriod { SleepableGracePeriod(of: core) }

  /// Releases `object` after a grace period: until then, sections that found it may use it.
  ///
  /// - Complexity: as ``RCUReclaimer/retire(_:)-(Object)`` of the domain's ``reclaimer``.
  /// - Threads: any, also inside a section. The object is released on the thread `rcu-sleepable`,
  ///   which all domains share, or on one that waits for the domain's `barrier()`.
  public func retire<Object: AnyObject & Sendable>(_ object: consuming Object) {
    reclaimer.retire(object)
  }

  /// Runs `body` after a grace period, outside every section; as ``retire(_:)-(Object)``.
  public func retire(_ body: @escaping @Sendable () -> Void) { reclaimer.retire(body) }

  /// Has `type` reclaim what is at `pointer` after a grace period. No allocation.
  @usableFromInline
  package func unsafeRetire(_ pointer: UnsafeMutableRawPointer, by type: any Reclaimable.Type) {
    reclaimer.unsafeRetire(pointer, by: type)
  }

  /// Whether `section` is one of this domain: else it does not protect what is published to the
  /// domain.
  @inlinable @inline(__always)
  package borrowing func protects(_ section: borrowing SleepableSection) -> Bool {
    section.core.toOpaque() == Unmanaged.passUnretained(core).toOpaque()
  }

  /// Blocks until everything retired before this call has run, and whatever that retires in turn.
  ///
  /// See `RCUReclaimer.barrier()`. The calling thread runs the domain's callbacks, so that
  /// it does not wait for those of other domains. Traps where `synchronize()` does, and in
  /// what was retired itself.
  @available(*, noasync, message: "await barrier() instead of blocking the task's thread")
  public func barrier() { reclaimer.barrier() }

  /// Suspends until everything retired before this call has run, and whatever that retires in turn.
  /// The calling task runs the domain's callbacks.
  public func barrier() async { await reclaimer.barrier() }

  /// Whether a grace period waits for sections. Those that begin from then on are none of them.
  package var isDraining: Bool { core.isDraining }

  /// The domain's grace periods so far.
  ///
  /// - Complexity: a lock. Any thread.
  public var statistics: GracePeriodStatistics { core.statistics }

  /// About how many sections are open: while sections are entered and left, there is no exact
  /// number.
  ///
  /// - Complexity: O(processors). Any thread.
  public var openSections: Int { core.sections }
}
