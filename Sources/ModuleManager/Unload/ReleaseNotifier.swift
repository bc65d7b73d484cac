internal import Quiescence

/// Told by each release of a reference, for the waits until a module is unused.
///
/// A release comes here *afterwards*, when the module and its record may be gone: the notifier is
/// the process's, and touches neither. While there is no wait it costs a load and a branch.
///
/// It is armed for one ring. The ring queues a look in every manager with a watch, and the look
/// arms it again: however fast a counter goes up and down, no manager has more than one look
/// queued, and all puts until that look begins cost the load and the branch again.
///
/// Between giving back and the load there is no fence, and the giving back may be a plain addition
/// to a processor's slot. So a look arms the notifier, then has every thread pass a barrier, and
/// only then adds up. With an addition in between:
///
///     user: slot -= 1 (in its store buffer)      looker: armed = true
///     user: armed? no: goes its way              looker: barrier: every store buffer is empty
///                                                looker: adds up, sees the subtraction
///
/// Without the barrier the looker could add up before the subtraction is out of the buffer, see a
/// user, and sleep for ever.
enum ReleaseNotifier {
  private static let isArmed = Primitive.Flag(false)
  /// Those that have watches.
  private static let watches = Primitive.Guarded<[ObjectIdentifier: UseWatches]>([:])

  /// A reference has been given back. Any thread, also inside sections.
  @inline(__always)
  static func ring() {
    // The strongest order, for the compiler: it has to leave the load behind the giving back.
    if isArmed.load(ordering: .sequentiallyConsistent) { ringSlowly() }
  }

  @inline(never)
  private static func ringSlowly() {
    // The thread that loses this leaves the work to the one that has won: the looks that are queued
    // now arm the bell after this point.
    if !isArmed.exchange(false, ordering: .sequentiallyConsistent) { return }
    for one in watches.withLock({ Array($0.values) }) { one.queueLook() }
  }

  /// What is added up when this has returned lacks nothing that was given back by a thread that did
  /// not ring. Blocks: a system call, or where there are no restartable sequences a grace period of
  /// `Memb`.
  static func arm() {
    isArmed.store(true, ordering: .sequentiallyConsistent)
    if Primitive.Slots.isRestartable {
      Primitive.Slots.passBarrier(Primitive.Slots.nextBarrier)
    } else {
      Primitive.waitForGracePeriods(of: [Memb.self])
    }
  }

  /// Before the first ``arm()`` for them: else a ring between the two would not reach them.
  static func add(_ new: UseWatches) { watches.withLock { $0[ObjectIdentifier(new)] = new } }

  static func remove(_ old: UseWatches) { watches.withLock { $0[ObjectIdentifier(old)] = nil } }
}
