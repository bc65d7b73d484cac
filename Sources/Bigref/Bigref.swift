package import Quiescence

/// A reference counter that scales with processors and is exact when it matters.
///
/// While it is live, everybody counts on the processor they run on, and nobody can say the exact total.
/// The owner holds a reference of its own from the start, so that zero is impossible. ``kill()`` ends
/// the live mode: after a grace period nobody counts on a processor any more, the slots are added up into
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
/// 1. Live: an acquire or release reads the mode and adds to its slot inside one `Memb` section.
///    `count` holds a bias so large that no sum of releases brings it to zero.
/// 2. Kill sets the mode. Who read it before may still add to a slot; who reads it now adds to `count`, where the
///    bias keeps zero away. Adding up now would miss the former: a lost reference.
/// 3. After a grace period all of the former have left. The sum of the slots goes into `count` in the same
///    atomic step that takes the bias out: in two steps a release in between could see a false zero.
/// 4. The owner's reference is released like any other. Whoever brings `count` to 0 wakes the waiters.
///
/// Source: Rusty Russell, "Module rewrite", September 2002 (`wait_for_zero`); Linux lib/percpu-refcount.c.
public struct Bigref: ~Copyable, Sendable {
  private let storage: Storage

  /// Makes a live counter that only its owner holds.
  ///
  /// - Complexity: one cache line a processor.
  public init() {
    storage = Storage()
  }

  deinit {
    // A release that brought the count to zero may still be waking waiters, inside its section.
    storage.retire()
  }

  /// Counts one more reference.
  ///
  /// The caller holds a reference already, or runs where the owner is known not to have finished ``kill()``:
  /// inside a section in which it found the counted object. Traps when the count was zero already.
  ///
  /// - Complexity: O(1); one section and one atomic add to the processor's own cache line. After
  ///   ``kill()`` the atomic is shared.
  /// - Threads: any.
  public func acquire() {
    Memb.read { _ in storage.add(1) }
  }

  /// Counts one more reference unless the counter was killed. Returns whether it did.
  ///
  /// Certain to fail once ``kill()`` has returned.
  public func tryAcquire() -> Bool {
    Memb.read { _ in
      // In one section with the add: a kill that this test did not see waits for the add.
      if storage.isKilled { return false }
      storage.add(1)
      return true
    }
  }

  /// Gives a reference back. Traps when there was none.
  ///
  /// - Complexity: as ``acquire()``; the one that reaches zero wakes the waiters.
  public func release() {
    Memb.read { _ in storage.add(-1) }
  }

  /// About how many references there are, without the owner's.
  ///
  /// Exact after ``kill()``. Before, references that move meanwhile may be counted twice or not at all.
  ///
  /// - Complexity: O(processors).
  public var approximateCount: Int { storage.approximateCount }

  /// Whether the counter was killed and its last reference is gone. False while it is live, whatever the slots say.
  public var isZero: Bool { storage.isZero }

  /// Ends the live mode and gives the owner's reference back. Blocks for a grace period of `Memb`.
  ///
  /// When it returns, ``tryAcquire()`` fails, ``isZero`` and ``approximateCount`` are exact, and
  /// zero comes with the last release. Traps inside a section, and when the counter was killed before.
  @available(*, noasync, message: "await kill() instead of blocking the task's thread")
  public func kill() {
    beginKill()
    Memb.synchronize()
    confirmKill()
    releaseOwner()
  }

  /// Ends the live mode and gives the owner's reference back. Suspends for a grace period of `Memb`.
  public func kill() async {
    beginKill()
    await Memb.synchronize()
    confirmKill()
    releaseOwner()
  }

  /// Makes a killed counter live again, with its owner's reference. Traps when it is live or a kill is under way.
  ///
  /// The caller makes sure that the counter has not reached zero, or that nobody acted upon it.
  ///
  /// - Complexity: O(processors), no grace period.
  public func resurrect() {
    storage.resurrect()
  }

  /// Suspends until the counter is zero. Returns at once when it is.
  public func zero() async {
    await suspended { storage.atZero(.task($0)) }
  }

  /// Blocks until the counter is zero, or for at most `limit`. Returns whether it is zero.
  ///
  /// - Threads: not inside a section, where it could wait for itself: traps. One waiter costs an allocation.
  @available(*, noasync, message: "await zero() instead of blocking the task's thread")
  @discardableResult
  public func waitForZero(atMost limit: Duration? = nil) -> Bool {
    if Memb.isInside { Misuse.waitInSection("waitForZero()", "Bigref in a Memb section: Memb") }
    let parker = Parker()
    storage.atZero(.thread(parker))
    return parker.wait(for: limit)
  }
}

/// The steps of ``kill()`` one by one, for an owner who kills several counters with one grace period, or waits
/// for the grace periods of several flavours.
extension Bigref {
  /// Step 2. Traps on a second kill.
  package func beginKill() { storage.beginKill() }

  /// Step 3. A grace period of `Memb` has passed since ``beginKill()``.
  package func confirmKill() { storage.confirmKill() }

  /// Step 4.
  package func releaseOwner() { Memb.read { _ in storage.releaseOwner() } }

  /// Calls `waiter` when the counter is zero: inside a `Memb` section, so it must not wait for anything.
  package func atZero(_ waiter: Waiter) { storage.atZero(waiter) }
}
