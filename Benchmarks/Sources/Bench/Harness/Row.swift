/// A row of the table, or one JSON object.
struct Row {
  let experiment: ExperimentName
  let contender: String
  let threads: Int
  /// What is varied besides the number of threads.
  var parameter: Parameter?
  /// Nanoseconds per operation: the figure that is compared with the limit.
  let nanoseconds: Double
  let median: Double
  let clock: Clock
  /// The equivalent contender in C.
  var c: String?
  var ratioToC: Double?
  /// What the limited ratio refers to, in words.
  var base: String?
  var ratio: Double?
  /// The ratio of the medians.
  var medianRatio: Double?
  var wanted: Wanted?
  /// How often a thread slept while its processor time was measured; the figures do not include
  /// that time.
  var sleeps: Int?
  /// Additional figures. Each name ends in its unit.
  var also: [String: Double] = [:]

  /// The thread's processor time, or wall-clock time.
  enum Clock: String, Encodable { case thread, wall }

  struct Parameter: Equatable {
    let name: String
    /// Nil: without a limit.
    let value: Double?

    init(_ name: String, _ value: Double?) {
      (self.name, self.value) = (name, value)
    }
  }

  /// The limit that the project promises.
  enum Wanted {
    case ratio(Double)
    case nanoseconds(Double)
  }

  init(
    _ experiment: ExperimentName, _ contender: String, threads: Int, _ parameter: Parameter? = nil,
    nanoseconds: Double, median: Double, clock: Clock
  ) {
    self.experiment = experiment
    self.contender = contender
    self.threads = threads
    self.parameter = parameter
    self.nanoseconds = nanoseconds
    self.median = median
    self.clock = clock
  }

  /// The same row, compared with `other`, and with a limit if `wanted` is given.
  func compared(to other: Row, as base: String, wanted: Double? = nil) -> Row {
    var row = self
    row.base = base
    row.ratio = nanoseconds / other.nanoseconds
    row.medianRatio = median / other.median
    row.wanted = wanted.map(Wanted.ratio)
    return row
  }

  /// The same row, compared with a contender in C, and with a limit if `wanted` is given.
  func besideC(_ other: Row, wanted: Double? = nil) -> Row {
    var row = base == nil ? compared(to: other, as: other.contender, wanted: wanted) : self
    // Keeps a limit in nanoseconds.
    row.wanted = row.wanted ?? self.wanted
    row.c = other.contender
    row.ratioToC = nanoseconds / other.nanoseconds
    return row
  }

  /// The same row, with a limit in nanoseconds.
  func limited(to limit: Double) -> Row {
    var row = self
    row.wanted = .nanoseconds(limit)
    return row
  }

  /// Nil without a limit. A figure that is not a number fails.
  var isOK: Bool? {
    switch wanted {
    case nil: nil
    case .ratio(let limit): (ratio ?? .nan) <= limit
    case .nanoseconds(let limit): nanoseconds <= limit
    }
  }
}

extension [Row] {
  /// Compares each row with the row of its contender in C that is equal in everything else.
  func besideC(_ names: [String: String], wanted: [String: Double] = [:]) -> [Row] {
    map { row in
      guard let name = names[row.contender],
        let c = first(where: {
          $0.contender == name && $0.threads == row.threads && $0.parameter == row.parameter
        })
      else { return row }
      return row.besideC(c, wanted: wanted[row.contender])
    }
  }
}

extension Row: Encodable {
  private enum CodingKeys: String, CodingKey {
    case experiment, contender, threads, parameter, value, ns, clock, ratio, wanted, ok, sleeps, also
    case median = "median_ns"
    case base = "ratio_to"
    case medianRatio = "median_ratio"
    case unit = "wanted_of"
    case c = "c"
    case ratioToC = "ratio_to_c"
  }

  func encode(to encoder: any Encoder) throws {
    // Every row has every key, so that a reader needs no case for a missing key.
    var row = encoder.container(keyedBy: CodingKeys.self)
    try row.encode(experiment.rawValue, forKey: .experiment)
    try row.encode(contender, forKey: .contender)
    try row.encode(threads, forKey: .threads)
    try row.encode(parameter?.name, forKey: .parameter)
    try row.encode(parameter?.value, forKey: .value)
    try row.encode(nanoseconds.rounded(to: 4), forKey: .ns)
    try row.encode(median.rounded(to: 4), forKey: .median)
    try row.encode(clock, forKey: .clock)
    try row.encode(c, forKey: .c)
    try row.encode(ratioToC?.rounded(to: 4), forKey: .ratioToC)
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
    try row.encode(also.mapValues { $0.rounded(to: 4) }, forKey: .also)
  }
}

extension Double {
  func rounded(to digits: Int) -> Double {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    return (self * scale).rounded() / scale
  }
}
