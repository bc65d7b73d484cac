internal import Synchronization

/// Callbacks that a barrier waits for: those retired to one reclaimer before a moment, and whatever
/// they retire in turn, to any reclaimer.
///
/// Each queue that has some of them carries marks: entries between two numbers belong to the set.
/// While such entries run, the queues to which they retire carry marks of the same sets (see
/// ``CallbackRun``), and only then are the old marks given up. So the number of holds is zero when
/// all have run, wherever they ran.
///
/// A reclaimer has one open set at any time, which collects what its callbacks retire. A barrier
/// closes it, adds what the reclaimer's queues hold, and waits; the next open set follows it, so
/// that a later barrier waits for both.
final class CallbackSet: Sendable {
  /// The reclaimer that the set was opened for.
  let owner: UInt64
  private let state: Locked<State>

  private struct State {
    var holds: Int
    /// Callbacks that run now, and may retire.
    var runs = 0
    /// Runs that have ended and retired something.
    var endedRuns = 0
    var wasMarked = false
    var waiters: [Waiter] = []
    /// Wait for the end of such a run too.
    var helpers: [Waiter] = []
    /// Where marks are now.
    var cores: [(core: ReclaimerCore, marks: Int)] = []
    /// Waiters of another process: see ``Waiter``.
    var lost: [Waiter] = []
    var process = ForkWatch.generation
  }

  /// Opens a set, which the caller holds. It stays held until `earlier` is empty.
  init(owner: UInt64, after earlier: CallbackSet? = nil) {
    self.owner = owner
    state = Locked(State(holds: earlier == nil ? 1 : 2))
    earlier?.whenEmpty(.call { [self] in release() })
  }

  /// Keeps it from being empty; with a mark in a queue of `core`.
  func hold(for core: ReclaimerCore? = nil) {
    state.withLock { state in
      state.holds += 1
      state.wasMarked = state.wasMarked || core != nil
      guard let core else { return }
      if let index = state.cores.firstIndex(where: { $0.core === core }) {
        state.cores[index].marks += 1
      } else {
        state.cores.append((core, 1))
      }
    }
  }

  /// Undoes a ``hold(for:)``. Not under a core's lock: waiters run.
  func release(for core: ReclaimerCore? = nil) {
    var gone: ReclaimerCore?
    let waiters = state.withLock { state -> [Waiter] in
      if let core, let index = state.cores.firstIndex(where: { $0.core === core }) {
        state.cores[index].marks -= 1
        // Released after the lock.
        if state.cores[index].marks == 0 { gone = state.cores.remove(at: index).core }
      }
      state.holds -= 1
      if state.holds > 0 { return [] }
      if state.process != ForkWatch.generation {
        // What waited in the parent is neither resumed nor released.
        state.lost += state.waiters + state.helpers
        (state.waiters, state.helpers) = ([], [])
      }
      defer { (state.waiters, state.helpers) = ([], []) }
      return state.waiters + state.helpers
    }
    withExtendedLifetime(gone) {}
    for waiter in waiters { waiter.resume() }
  }

  /// Callbacks run whose entries in turn will belong to the set. Until
  /// ``endRun(hasRetired:)``.
  func beginRun() {
    state.withLock { state in
      state.holds += 1
      state.runs += 1
    }
  }

  /// - Parameter hasRetired: a helper has to look again. A thread that is woken at the end of every
  ///   run would take the processor from the one that runs them.
  func endRun(hasRetired: Bool) {
    let helpers: [Waiter] = state.withLock { state in
      state.runs -= 1
      if !hasRetired { return [] }
      state.endedRuns += 1
      defer { state.helpers = [] }
      return state.helpers
    }
    release()
    for helper in helpers { helper.resume() }
  }

  /// Runs that have ended and retired something so far: only such a run adds entries to the set.
  var endedRuns: Int { state.withLock { $0.endedRuns } }

  /// Calls `waiter` when all have run, or ``endedRuns`` exceeds `count`; at once when that is so.
  func whenEmpty(orRunsExceed count: Int, _ waiter: Waiter) {
    let isOver = state.withLock { state in
      if state.holds == 0 || state.endedRuns > count { return true }
      state.helpers.append(waiter)
      return false
    }
    if isOver { waiter.resume() }
  }

  /// Calls `waiter` when all have run; at once when they have.
  func whenEmpty(_ waiter: Waiter) {
    let isEmpty = state.withLock { state in
      if state.holds == 0 { return true }
      state.waiters.append(waiter)
      return false
    }
    if isEmpty { waiter.resume() }
  }

  var isEmpty: Bool { state.withLock { $0.holds == 0 } }
  /// Something was retired that belongs to it, or may be.
  var isUsed: Bool { state.withLock { $0.wasMarked || $0.runs > 0 } }

  /// The reclaimers that have some of the callbacks now.
  var cores: [ReclaimerCore] { state.withLock { $0.cores.map(\.core) } }
}
