/// One line of the table, one JSON object.
struct Row: Encodable {
  let experiment: ExperimentName
  let contender: String
  let threads: Int
  /// Nanoseconds an operation: the figure that is judged.
  let nanoseconds: Double
  let median: Double
  /// Thread time, or the clock on the wall.
  let clock: Clock
  /// What the ratio is to, in words.
  var base: String?
  var ratio: Double?
  /// The ratio of the medians.
  var medianRatio: Double?
  var wanted: Wanted?
  /// How often a thread slept while thread time was taken: that time is in no figure.
  var sleeps: Int?

  enum Clock: String, Encodable { case thread, wall }

  /// What the project asks for.
  enum Wanted {
    case ratio(Double)
    case nanoseconds(Double)
  }

  init(
    _ experiment: ExperimentName, _ contender: String, threads: Int, nanoseconds: Double, median: Double,
    clock: Clock
  ) {
    self.experiment = experiment
    self.contender = contender
    self.threads = threads
    self.nanoseconds = nanoseconds
    self.median = median
    self.clock = clock
  }

  /// The same, compared with `other`.
  func compared(to other: Row, as base: String, wanted: Double? = nil) -> Row {
    var row = self
    row.base = base
    row.ratio = nanoseconds / other.nanoseconds
    row.medianRatio = median / other.median
    row.wanted = wanted.map(Wanted.ratio)
    return row
  }

  /// The same, with a limit in nanoseconds.
  func limited(to limit: Double) -> Row {
    var row = self
    row.wanted = .nanoseconds(limit)
    return row
  }

  /// Nil when nothing is asked of it. A figure that is not a number fails.
  var isOK: Bool? {
    switch wanted {
    case nil: nil
    case .ratio(let limit): (ratio ?? .nan) <= limit
    case .nanoseconds(let limit): nanoseconds <= limit
    }
  }

  private enum CodingKeys: String, CodingKey {
    case experiment, contender, threads, ns, clock, ratio, wanted, ok, sleeps
    case median = "median_ns"
    case base = "ratio_to"
    case medianRatio = "median_ratio"
    case unit = "wanted_of"
  }

  func encode(to encoder: any Encoder) throws {
    // Every key is in every row, so that a reader of the rows needs no case for a missing one.
    var row = encoder.container(keyedBy: CodingKeys.self)
    try row.encode(experiment.rawValue, forKey: .experiment)
    try row.encode(contender, forKey: .contender)
    try row.encode(threads, forKey: .threads)
    try row.encode(nanoseconds.rounded(to: 4), forKey: .ns)
    try row.encode(median.rounded(to: 4), forKey: .median)
    try row.encode(clock, forKey: .clock)
    try row.encode(base, forKey: .base)
    try row.encode(ratio?.rounded(to: 4), forKey: .ratio)
    try row.encode(medianRatio?.rounded(to: 4), forKey: .medianRatio)
    switch wanted {
    case nil:
      try row.encodeNil(forKey: .wanted)
      try row.encodeNil(forKey: .unit)
    case .ratio(let limit):
      try row.encode(limit, forKey: .wanted)
      try row.encode("ratio", forKey: .unit)
    case .nanoseconds(let limit):
      try row.encode(limit, forKey: .wanted)
      try row.encode("ns", forKey: .unit)
    }
    try row.encode(isOK, forKey: .ok)
    try row.encode(sleeps, forKey: .sleeps)
  }
}

extension Double {
  func rounded(to digits: Int) -> Double {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    return (self * scale).rounded() / scale
  }
}
