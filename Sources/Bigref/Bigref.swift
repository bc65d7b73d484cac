public import Quiescence

/// A reference counter that scales with processors and is exact when it matters.
///
/// While it is live, everybody counts on the processor they run on, and nobody can say the exact total.
/// The owner holds a reference of its own from the start, so that zero is impossible. ``kill()`` ends
/// the live mode: after a barrier nobody counts on a processor any more, the slots are added up into
/// one atomic, and the owner's reference is given back. From then on zero is exact, happens once, and wakes
/// whoever waits.
///
/// ```swift
/// let packets = Bigref()
/// packets.acquire()          // on every processor at once
/// packets.release()          // on any other
/// await packets.kill()       // no one new from here on
/// await packets.zero()
/// ```
///
/// The protocol in full:
///
/// 1. Live: one restartable sequence tests the mode and adds to the processor's slot, without an atomic instruction.
///    `count` holds a bias so large that no sum of releases brings it to zero.
/// 2. Kill sets the mode. Who read it before may still add to a slot; who reads it now adds to `count`, where the
///    bias keeps zero away. Adding up now would miss the former: a lost reference.
/// 3. `membarrier(PRIVATE_EXPEDITED_RSEQ)` sends every sequence that is under way back to its start, where it reads the
///    new mode. The sum of the slots goes into `count` in the same atomic step that takes the bias out: in two steps a
///    release in between could see a false zero.
/// 4. The owner's reference is released like any other. Whoever brings `count` to 0 wakes the waiters.
///
/// Where the kernel or the C library has no restartable sequences (see ``Statistics/counting``), 1 is an atomic add inside
/// a `Memb` section that spans the test, and 3 a grace period. Nothing else differs.
///
/// Source: Rusty Russell, "Module rewrite", September 2002 (`wait_for_zero`); Linux lib/percpu-refcount.c; rseq(2).
public struct Bigref: ~Copyable, Sendable {
  @usableFromInline
  let storage: Storage

  /// Makes a live counter that only its owner holds.
  ///
  /// - Parameter recordingHolders: Keeps a label for every reference, see ``holders``: to find who does not let go. Every
  ///   reference then costs a lock and a lookup. Counters that do not record pay nothing for it.
  /// - Complexity: O(1): 64 bytes, and 8 bytes a processor, from the thread's own magazine; every 32nd takes a lock.
  public init(recordingHolders: Bool = false) {
    storage = Storage(recordingHolders: recordingHolders)
  }

  /// Gives the memory back after a grace period. Nobody holds a reference any more, or nobody will give it back.
  ///
  /// Traps when a kill is under way: destroy it after its confirmation.
  deinit {
    // A release that brought the count to zero may still be waking waiters, inside its section.
    storage.retire()
  }

  /// Counts one more reference.
  ///
  /// The caller holds a reference already, or knows that the owner's has not been given back. Who finds the counted object
  /// in a section, and may meet its end, uses ``tryAcquire()``. Traps when the count was zero already.
  ///
  /// - Complexity: O(1); while live, a dozen instructions without an atomic one. After ``kill()`` an atomic that is
  ///   shared.
  /// - Threads: any, also inside sections and in signal handlers while live; where there are no restartable sequences, in handlers
  ///   on threads that have read or counted before.
  @inlinable @inline(__always)
  public func acquire() {
    if !storage.cell.add(1) { storage.acquireSlowly(for: nil) }
  }

  /// Counts one more reference unless the count is zero. Returns whether it did.
  ///
  /// Also for a counter that was killed and is still held. Costs and threads: as ``acquire()``.
  @inlinable @inline(__always)
  public func tryAcquire() -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: false, for: nil)
  }

  /// Counts one more reference unless the counter was killed. Returns whether it did.
  ///
  /// May succeed while a ``kill()`` is under way. Certain to fail once it is confirmed. Costs and threads: as
  /// ``acquire()``.
  @inlinable @inline(__always)
  public func tryAcquireLive() -> Bool {
    storage.cell.add(1) || storage.tryAcquireSlowly(onlyLive: true, for: nil)
  }

  /// Gives a reference back. What the caller did with the counted object happens before zero.
  ///
  /// Traps when there was none: after ``kill()`` at once, before it when the kill adds up.
  ///
  /// - Complexity: as ``acquire()``; the one that reaches zero wakes the waiters.
  @inlinable @inline(__always)
  public func release() {
    if !storage.cell.add(-1) { storage.releaseSlowly(for: nil) }
  }

  /// About how many references there are, without the owner's.
  ///
  /// Exact after ``kill()``. Before, references that move meanwhile may be counted twice or not at all.
  ///
  /// - Complexity: O(processors).
  public var approximateCount: Int { storage.approximateCount }

  /// Whether the counter was killed and its last reference is gone. False while it is live, whatever the slots say.
  public var isZero: Bool { storage.isZero }
}
