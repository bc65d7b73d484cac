public import Quiescence

/// A reference counter that scales with the number of processors and becomes exact when it is
/// killed.
///
/// While the counter is live, each thread counts on a slot of the processor that it runs on, and
/// the exact total is unknown. The owner holds a reference from the start, so a live counter cannot
/// reach zero. `kill()` ends the live mode: after a barrier no thread counts on a slot any more,
/// the slots are added up into one atomic, and the owner's reference is released. From then on the
/// count is exact, and the release that reaches zero wakes the waiters.
///
/// ```swift
/// let packets = Bigref()
/// packets.acquire()          // on every processor at once
/// packets.release()          // on any other processor
/// await packets.kill()       // no new users from here on
/// await packets.zero()
/// ```
///
/// The protocol in full:
///
/// 1. Live: one restartable sequence tests the mode and adds to the processor's slot, without an
///    atomic instruction. `count` holds a bias so large that no sum of releases brings it to zero.
/// 2. Kill sets the mode. A thread that read the mode before may still add to a slot; a thread that
///    reads it now adds to `count`, where the bias prevents zero. If the owner added up the slots
///    now, it would miss the addition of the former thread: a lost reference.
/// 3. `membarrier(PRIVATE_EXPEDITED_RSEQ)` restarts every sequence in progress; each reads the new
///    mode then. One atomic step adds the sum of the slots to `count` and removes the bias. With
///    two steps, a release between them could see a false zero.
/// 4. The owner's reference is released like any other. The release that brings `count` to 0 wakes
///    the waiters.
///
/// Where the kernel or the C library has no restartable sequences (see ``Statistics/counting``),
/// step 1 is an atomic addition inside a `Memb` section that includes the test, and step 3 is a
/// grace period. Nothing else differs.
///
/// Source: Rusty Russell, "Module rewrite", September 2002 (`wait_for_zero`); Linux
/// lib/percpu-refcount.c; rseq(2).
public struct Bigref: ~Copyable, Sendable {
  @usableFromInline
  let storage: Storage

  /// Creates a live counter with one reference, the owner's.
  ///
  /// - Parameter recordingHolders: Records a label for every reference; see ``holders``. Each
  ///   acquire and release then takes a lock and does a lookup. Counters that do not record labels
  ///   pay nothing for this.
  /// - Complexity: O(1): 64 bytes, and 8 bytes per processor, from the thread's own magazine; every
  ///   32nd counter takes a lock.
  public init(recordingHolders: Bool = false) {
    storage = Storage(recordingHolders: recordingHolders)
  }

  /// Returns the memory to the arena after a grace period. No thread may acquire or release a
  /// reference after this.
  ///
  /// Traps while a kill is in progress: destroy the counter after the kill is confirmed.
  deinit {
    // A release that brought the count to zero may still be waking waiters, inside its section.
    storage.retire()
  }

  /// Adds a reference.
  ///
  /// The caller already holds a reference, or knows that the owner's has not been released. A
  /// reader that finds the counted object in a section, where the object may be ending, calls
  /// ``tryAcquire()`` instead. Traps if the count was zero.
  ///
  /// - Complexity: O(1). While the counter is live, about twelve instructions without an atomic
  ///   one; after `kill()`, one shared atomic.
  /// - Threads: any, also inside sections. In signal handlers only while the counter is live, and,
  ///   without restartable sequences, only on threads that have read or counted before.
  @inlinable @inline(__always)
  public func acquire() {
    if !storage.cell.add(1) { storage.acquireSlowly(for: nil) }
  }

  /// Adds a reference unless the count is zero. Returns whether it did.
  ///
  /// Also succeeds on a killed counter that is not zero yet. Costs and threads as for
  /// ``acquire()``.
  @inlinable @inline(__always)
  public func tryAcquire() -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: false, for: nil)
  }

  /// Adds a reference unless the counter was killed. Returns whether it did.
  ///
  /// May succeed during a `kill()`. Always fails once the kill is confirmed. Costs and threads as
  /// for ``acquire()``.
  @inlinable @inline(__always)
  public func tryAcquireLive() -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: true, for: nil)
  }

  /// Releases a reference. The caller's accesses to the counted object happen before zero.
  ///
  /// Traps if the caller held no reference: at once after `kill()`; before that, when the kill
  /// adds up the slots.
  ///
  /// - Complexity: as ``acquire()``; the release that reaches zero also wakes the waiters.
  @inlinable @inline(__always)
  public func release() {
    if !storage.cell.add(-1) { storage.releaseSlowly(for: nil) }
  }

  /// The approximate number of references, without the owner's.
  ///
  /// Exact after `kill()`. Before that, a reference that moves between processors during the sum
  /// may be counted twice or not at all.
  ///
  /// - Complexity: O(processors).
  public var approximateCount: Int { storage.approximateCount }

  /// Whether the counter was killed and its last reference was released. Always false while the
  /// counter is live.
  ///
  /// In a test, write `#expect(counter.isZero == true)`. For `#expect(counter.isZero)` the macro
  /// would copy the counter, to print it in a failure, and a counter cannot be copied.
  public var isZero: Bool { storage.isZero }
}
