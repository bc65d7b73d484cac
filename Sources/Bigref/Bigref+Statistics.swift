internal import Quiescence

extension Bigref {
  /// How the process's counters count, and what they have cost so far.
  public struct Statistics: Sendable {
    /// How live counters count. Chosen once, at the start of the process.
    public var counting: Counting
    /// System calls that interrupted the process's threads to confirm kills; many kills share one.
    public var barriers: Int
    /// Counters that took memory from the arena at the same time, at most: 64 bytes, and 8 bytes a processor each.
    public var counters: Int
    /// Counters that count on one atomic, because the kernel refused the memory for slots.
    public var countersWithoutSlots: Int
  }

  /// How live counters count.
  public enum Counting: Sendable, Equatable {
    /// By restartable sequences, without an atomic instruction.
    case restartableSequences
    /// By atomic adds inside `Memb` sections, and why. Set the environment variable `QUIESCENCE_NO_RSEQ` to 1 for it.
    case atomicAdds(reason: String)
  }

  /// The process's statistics, as they are now.
  ///
  /// - Complexity: O(1), a lock.
  public static var statistics: Statistics {
    let usage = ProcessorCell.usage
    return Statistics(
      counting: ProcessorCell.refusal.map { .atomicAdds(reason: $0) } ?? .restartableSequences,
      barriers: ProcessorCell.barriers, counters: usage.cells, countersWithoutSlots: usage.withoutSlots)
  }
}
