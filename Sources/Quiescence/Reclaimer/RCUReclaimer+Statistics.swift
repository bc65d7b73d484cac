internal import Synchronization

extension RCUReclaimer {
  /// A reclaimer's callbacks so far.
  public struct Statistics: Hashable, Sendable {
    /// Callbacks that wait now.
    public let queued: Int
    /// Callbacks that have run, the one that runs now included.
    public let run: Int
    /// The most that have waited at once, as seen before each round of callbacks, when a thread
    /// found the reclaimer full, and by `statistics` itself.
    public let highWater: Int
  }

  /// What the reclaimer has run since it was made, and what waits.
  ///
  /// - Complexity: O(threads whose callbacks wait, or that retire through it now), under a lock
  ///   that the fast path never takes. Any thread.
  public var statistics: Statistics {
    core.state.withLock { state in
      func running(_ queues: [RetireQueue]) -> Int {
        queues.reduce(0) { $0 + max(0, $1.consumed - $1.shared.finished) }
      }
      let left = running(state.left)
      let queued = state.noteBacklog() - left
      return Statistics(
        queued: queued, run: state.ran + running(state.listed) + left, highWater: state.highWater)
    }
  }
}
