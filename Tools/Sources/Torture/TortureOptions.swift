/// What to torture, how hard and for how long.
public struct TortureOptions: Sendable {
  /// Whose grace periods.
  public var flavor: FlavorName
  /// For how long; a broken run ends as soon as it was caught.
  public var seconds = 10.0
  /// Threads that read; more than processors, so that sections are preempted.
  public var readers: Int
  /// Threads that replace elements and wait for grace periods in every way there is.
  public var writers = 2
  /// Threads that only wait for grace periods.
  public var fakeWriters = 2
  /// Where the random choices start. The interleaving is the machine's: the same seed gives the same choices, not the
  /// same run.
  public var seed: UInt64
  /// What is broken on purpose, to see that it is found.
  public var breakage: Breakage?
  /// What happens beside the reading and writing.
  public var phases = Set(Phase.allCases)
  /// How many callbacks a flood has.
  public var floodSize = 100_000

  /// The usual: twice as many readers as processors, every phase, nothing broken.
  public init(flavor: FlavorName) {
    self.flavor = flavor
    readers = 2 * Affinity.processors.count
    seed = .random(in: 0...0xffff_ffff)
  }
}

/// The flavors, as people write them.
public enum FlavorName: String, CaseIterable, Codable, Sendable {
  case memb, mb, bulletproof, qsbr
}

/// Faults that a torture worth its name finds.
public enum Breakage: String, CaseIterable, Codable, Sendable {
  /// Grace periods end at once.
  case noGracePeriod = "no-grace-period"
  /// Removed elements are used again without waiting for their readers.
  case earlyFree = "early-free"
  /// A grace period that sleeps until a reader leaves is not woken.
  case lostWakeup = "lost-wakeup"
  /// One callback in many is dropped.
  case leak
}

/// What goes on beside the readers and the writers.
public enum Phase: String, CaseIterable, Codable, Sendable {
  /// Threads that come, read, retire and end at all points.
  case churn
  /// Bursts of callbacks.
  case flood
  /// Children of fork that read.
  case fork
  /// Now and then everybody stops, and all go on at once.
  case stutter
  /// Threads are moved between processors.
  case shuffle
}
