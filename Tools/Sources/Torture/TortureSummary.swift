/// What a torture came to.
public struct TortureSummary: Codable, Sendable {
  /// Always "summary".
  public let event: String
  /// Whose grace periods.
  public let flavor: FlavorName
  /// How long it took, to the end of what was left to do.
  public let seconds: Double
  /// Where the random choices started.
  public let seed: UInt64
  /// Threads that read.
  public let readers: Int
  /// Threads that replaced elements.
  public let writers: Int
  /// Threads that only waited.
  public let fakeWriters: Int
  /// Processors that the threads shared.
  public let processors: Int
  /// It was ended before its time.
  public let isInterrupted: Bool
  /// What was broken on purpose.
  public let breakage: Breakage?

  /// All failures together; 0 is what one wants.
  public let failures: Int
  /// Each counter, by its name.
  public let failureCounters: [String: Int]
  /// The names of the counters that are not zero: what has found the fault.
  public let caught: [String]
  /// What the first failure was about.
  public let firstFailure: String?
  /// Why the run did too little to mean anything; empty when it did enough.
  public var vacuous: [String] = []

  /// How many ended.
  public var gracePeriods = 0
  /// How long they took, since the process started.
  public var gracePeriodMicroseconds = Durations(p50: .zero, p99: .zero, longest: .zero)
  /// Outermost sections.
  public var reads = 0
  /// Elements read, by their age at the end of the section, from 0 to 10. From 2 on each is a failure.
  public var ages: [Int] = []
  /// Sections that were looked at, by the grace periods that ended inside them: 0, 1, 2, and more. From 2 on each is a
  /// failure.
  public var batches: [Int] = []
  /// Those of the reads that were more than one.
  public var sections = Sections(nested: 0, overlapping: 0, held: 0, boxes: 0)
  /// Elements that were replaced.
  public var updates = 0
  /// Times that a writer had no element left, and only waited.
  public var emptyPools = 0
  /// How often each way of waiting was used.
  public var waits: [String: Int] = [:]
  /// Callbacks that were retired, those that callbacks retired included.
  public var callbacksRetired = 0
  /// Callbacks that have run.
  public var callbacksRun = 0
  /// Threads that came and went.
  public var threads = 0
  /// Sections of those threads.
  public var threadReads = 0
  /// Bursts of callbacks, each with a barrier after it.
  public var floods = 0
  /// From the first retire to the end of the barrier.
  public var longestFloodMicroseconds = 0
  /// Children of fork.
  public var forks = 0
  /// Times that everybody stopped and went on.
  public var stutters = 0
  /// Times that a thread was given other processors.
  public var moves = 0

  /// Bounds to within a factor of two, in microseconds.
  public struct Durations: Codable, Sendable {
    /// Half took no longer.
    public let p50: Int
    /// All but one in a hundred took no longer.
    public let p99: Int
    /// The longest.
    public let longest: Int

    init(p50: Duration, p99: Duration, longest: Duration) {
      self.p50 = Int(p50 / .microseconds(1))
      self.p99 = Int(p99 / .microseconds(1))
      self.longest = Int(longest / .microseconds(1))
    }
  }

  /// Sections that were more than a read.
  public struct Sections: Codable, Sendable {
    /// Sections in sections, up to seven deep.
    public let nested: Int
    /// Entered anew before the old one was left, up to eight times.
    public let overlapping: Int
    /// Slept inside.
    public let held: Int
    /// Read a box.
    public let boxes: Int
  }

  init(options: TortureOptions, seconds: Double, isInterrupted: Bool, failures: FailureLog) {
    event = "summary"
    flavor = options.flavor
    self.seconds = seconds
    seed = options.seed
    readers = options.readers
    writers = options.writers
    fakeWriters = options.fakeWriters
    processors = Affinity.processors.count
    self.isInterrupted = isInterrupted
    breakage = options.breakage
    self.failures = failures.sum
    failureCounters = Dictionary(uniqueKeysWithValues: Failure.allCases.map { ($0.rawValue, failures[$0]) })
    caught = Failure.allCases.filter { failures[$0] > 0 }.map(\.rawValue)
    firstFailure = failures.first
  }

  private enum CodingKeys: String, CodingKey {
    case event, flavor, seconds, seed, readers, writers, processors, breakage, failures, caught, vacuous,
      reads, ages
    case batches, sections, updates, waits, threads, floods, forks, stutters, moves
    case fakeWriters = "fake_writers"
    case isInterrupted = "interrupted"
    case failureCounters = "failure_counters"
    case firstFailure = "first_failure"
    case gracePeriods = "grace_periods"
    case gracePeriodMicroseconds = "grace_period_us"
    case emptyPools = "empty_pools"
    case callbacksRetired = "callbacks_retired"
    case callbacksRun = "callbacks_run"
    case threadReads = "thread_reads"
    case longestFloodMicroseconds = "longest_flood_us"
  }
}

extension TortureSummary {
  /// What to make of it.
  public enum Verdict: Sendable {
    /// Nothing failed, and the run did enough.
    case passed
    /// Something that must not happen has happened.
    case failed
    /// Nothing failed in a run that did too little.
    case vacuous
    /// What was broken on purpose was not found.
    case missed
  }

  /// A failure is a failure, also in a run that did little; a fault that was not found is worse than a short run.
  public var verdict: Verdict {
    if failures > 0 { return .failed }
    if breakage != nil { return .missed }
    return vacuous.isEmpty ? .passed : .vacuous
  }

  /// Threads that hang were left behind.
  public var hasHung: Bool { failureCounters[Failure.hangs.rawValue, default: 0] > 0 }
}

/// How far it has come.
public struct TortureProgress: Encodable, Sendable {
  /// Always "progress".
  public let event = "progress"
  /// Whose grace periods.
  public let flavor: FlavorName
  /// Since the start.
  public let seconds: Double
  /// Outermost sections so far.
  public let reads: Int
  /// Grace periods so far.
  public let gracePeriods: Int
  /// Failures so far, of every kind.
  public let failures: Int

  private enum CodingKeys: String, CodingKey {
    case event, flavor, seconds, reads, failures
    case gracePeriods = "grace_periods"
  }
}
