internal import Quiescence

extension Bigref {
  /// How the counters of this process count, and what they have cost so far.
  public struct Statistics: Sendable {
    /// How live counters count. Chosen once, at the start of the process.
    public var counting: Counting
    /// System calls that interrupted the threads of the process to confirm kills. Many kills share
    /// one.
    public var barriers: Int
    /// The largest number of counters that existed at the same time. Each takes 64 bytes, and 8
    /// bytes per processor, from the arena.
    public var counters: Int
    /// Counters that count on one atomic, because the kernel refused the memory for slots.
    public var countersWithoutSlots: Int
  }

  /// How live counters count.
  public enum Counting: Sendable, Equatable {
    /// By restartable sequences, without an atomic instruction.
    case restartableSequences
    /// By atomic additions inside `Memb` sections; `reason` says why. The environment variable
    /// `QUIESCENCE_NO_RSEQ=1` selects this.
    case atomicAdds(reason: String)
  }

  /// The current statistics of the process.
  ///
  /// - Complexity: O(1), a lock.
  public static var statistics: Statistics {
    let usage = ProcessorCell.usage
    return Statistics(
      counting: ProcessorCell.refusal.map { .atomicAdds(reason: $0) } ?? .restartableSequences,
      barriers: ProcessorCell.barriers, counters: usage.cells, countersWithoutSlots: usage.withoutSlots)
  }
}
