/// The result of a torture.
public struct TortureSummary: Codable, Sendable {
  /// Always "summary".
  public let event: String
  /// The flavor that was tested.
  public let flavor: FlavorName
  /// The duration in seconds, including the end of the last threads.
  public let seconds: Double
  /// The seed of the random choices.
  public let seed: UInt64
  /// Threads that read.
  public let readers: Int
  /// Threads that replaced elements.
  public let writers: Int
  /// Threads that only waited.
  public let fakeWriters: Int
  /// Processors that the threads shared.
  public let processors: Int
  /// Whether the run was ended early.
  public let isInterrupted: Bool
  /// The fault that was inserted on purpose.
  public let breakage: Breakage?

  /// The sum of all failure counters. Must be 0.
  public let failures: Int
  /// Every failure counter, by name.
  public let failureCounters: [String: Int]
  /// The names of the counters that are not zero: what the run has found.
  public let caught: [String]
  /// The description of the first failure.
  public let firstFailure: String?
  /// Why the run did too little to mean anything. Empty if it did enough.
  public var vacuous: [String] = []

  /// Grace periods that ended.
  public var gracePeriods = 0
  /// How long grace periods took, since the start of the process.
  public var gracePeriodMicroseconds = Durations(p50: .zero, p99: .zero, longest: .zero)
  /// Outermost sections.
  public var reads = 0
  /// Elements read, by age at the end of the section, from 0 to 10. Each at 2 or above is a
  /// failure.
  public var ages: [Int] = []
  /// Sections of a sample, by the number of grace periods that ended inside: 0, 1, 2, and more.
  /// Each at 2 or above is a failure.
  public var batches: [Int] = []
  /// Sections that did more than one simple read.
  public var sections = Sections(nested: 0, overlapping: 0, held: 0, boxes: 0)
  /// Elements that were replaced.
  public var updates = 0
  /// How often a writer found no free element, and only waited.
  public var emptyPools = 0
  /// How often each way of waiting was used.
  public var waits: [String: Int] = [:]
  /// Callbacks that were retired, including those that callbacks retired.
  public var callbacksRetired = 0
  /// Callbacks that have run.
  public var callbacksRun = 0
  /// Short-lived threads that have ended.
  public var threads = 0
  /// Sections of those threads.
  public var threadReads = 0
  /// Bursts of callbacks, each followed by a barrier.
  public var floods = 0
  /// The longest time from the first retire of a burst to the end of its barrier.
  public var longestFloodMicroseconds = 0
  /// Forked children.
  public var forks = 0
  /// How often all threads stopped and resumed.
  public var stutters = 0
  /// How often a thread was moved to other processors.
  public var moves = 0

  /// Upper bounds in microseconds, exact to a factor of two.
  public struct Durations: Codable, Sendable {
    /// The median.
    public let p50: Int
    /// The 99th percentile.
    public let p99: Int
    /// The longest.
    public let longest: Int

    init(p50: Duration, p99: Duration, longest: Duration) {
      self.p50 = Int(p50 / .microseconds(1))
      self.p99 = Int(p99 / .microseconds(1))
      self.longest = Int(longest / .microseconds(1))
    }
  }

  /// Sections that did more than one simple read.
  public struct Sections: Codable, Sendable {
    /// Nested sections, up to seven deep.
    public let nested: Int
    /// Sections in which a new one was entered before the old one was left, up to eight times.
    public let overlapping: Int
    /// Sections that slept inside.
    public let held: Int
    /// Sections that read a box.
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
  /// The verdict on a run.
  public enum Verdict: Sendable {
    /// No failure, and the run did enough.
    case passed
    /// At least one failure.
    case failed
    /// No failure, but the run did too little.
    case vacuous
    /// The fault that was inserted on purpose was not found.
    case missed
  }

  /// A failure outranks everything else, also in a short run. A fault that was not found outranks a
  /// short run.
  public var verdict: Verdict {
    if failures > 0 { return .failed }
    if breakage != nil { return .missed }
    return vacuous.isEmpty ? .passed : .vacuous
  }

  /// Whether threads that hang were left behind.
  public var hasHung: Bool { failureCounters[Failure.hangs.rawValue, default: 0] > 0 }
}

/// The progress of a run.
public struct TortureProgress: Encodable, Sendable {
  /// Always "progress".
  public let event = "progress"
  /// The flavor that is tested.
  public let flavor: FlavorName
  /// Seconds since the start.
  public let seconds: Double
  /// Outermost sections so far.
  public let reads: Int
  /// Grace periods so far.
  public let gracePeriods: Int
  /// Failures so far, of every kind.
  public let failures: Int
}
