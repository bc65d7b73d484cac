/// What to torture, how hard, and for how long.
public struct TortureOptions: Sendable {
  /// The flavor to test.
  public var flavor: FlavorName
  /// How many seconds to run. A broken run ends as soon as the fault was found.
  public var seconds = 10.0
  /// Threads that read; more than processors, so that sections are preempted.
  public var readers: Int
  /// Threads that replace elements and wait for grace periods in every way that the library has.
  public var writers = 2
  /// Threads that only wait for grace periods.
  public var fakeWriters = 2
  /// The seed of the random choices. The same seed gives the same choices, but not the same
  /// interleaving.
  public var seed: UInt64
  /// The fault to insert on purpose, to see that it is found.
  public var breakage: Breakage?
  /// The disturbances during the run.
  public var phases = Set(Phase.allCases)
  /// The number of callbacks in a flood.
  public var floodSize = 100_000

  /// The usual options: twice as many readers as processors, every disturbance, no fault.
  public init(flavor: FlavorName) {
    self.flavor = flavor
    readers = 2 * Affinity.processors.count
    seed = .random(in: 0...0xffff_ffff)
  }
}

/// The names of the flavors on the command line.
public enum FlavorName: String, CaseIterable, Codable, Sendable {
  case memb, mb, bulletproof, qsbr
}

/// Faults that a torture must find.
public enum Breakage: String, CaseIterable, Codable, Sendable {
  /// Grace periods end at once.
  case noGracePeriod = "no-grace-period"
  /// Removed elements are reused without waiting for their readers.
  case earlyFree = "early-free"
  /// A reader skips a wake-up that a sleeping grace period needs.
  case lostWakeup = "lost-wakeup"
  /// One callback in many is dropped.
  case leak
}

/// Disturbances beside the readers and writers.
public enum Phase: String, CaseIterable, Codable, Sendable {
  /// Threads start, read, retire and end at all points.
  case churn
  /// Bursts of callbacks.
  case flood
  /// Forked children read.
  case fork
  /// Now and then all threads stop, and resume at once.
  case stutter
  /// Threads are moved between processors.
  case shuffle
}
