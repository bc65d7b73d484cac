/// One line of the table, one JSON object.
struct Row {
  let experiment: ExperimentName
  let contender: String
  let threads: Int
  /// What is varied besides the threads.
  var parameter: Parameter?
  /// Nanoseconds an operation: the figure that is judged.
  let nanoseconds: Double
  let median: Double
  let clock: Clock
  /// The contender in C that does the same.
  var c: String?
  var ratioToC: Double?
  /// What is judged, in words: a ratio to this one.
  var base: String?
  var ratio: Double?
  /// The ratio of the medians.
  var medianRatio: Double?
  var wanted: Wanted?
  /// How often a thread slept while thread time was taken: that time is in no figure.
  var sleeps: Int?
  /// Other figures that belong to it, by names that end in their unit.
  var also: [String: Double] = [:]

  /// Thread time, or the clock on the wall.
  enum Clock: String, Encodable { case thread, wall }

  struct Parameter: Equatable {
    let name: String
    /// Nil: as much as there can be.
    let value: Double?

    init(_ name: String, _ value: Double?) {
      (self.name, self.value) = (name, value)
    }
  }

  /// What the project asks for.
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

  /// The same, compared with `other`, and judged by that when there is a limit.
  func compared(to other: Row, as base: String, wanted: Double? = nil) -> Row {
    var row = self
    row.base = base
    row.ratio = nanoseconds / other.nanoseconds
    row.medianRatio = median / other.median
    row.wanted = wanted.map(Wanted.ratio)
    return row
  }

  /// The same, with a contender in C beside it, and judged by that when there is a limit.
  func besideC(_ other: Row, wanted: Double? = nil) -> Row {
    var row = base == nil ? compared(to: other, as: other.contender, wanted: wanted) : self
    // A limit in nanoseconds stays.
    row.wanted = row.wanted ?? self.wanted
    row.c = other.contender
    row.ratioToC = nanoseconds / other.nanoseconds
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
}

extension [Row] {
  /// Each beside the row of its contender in C that differs in nothing else.
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
    // Every key is in every row, so that a reader of the rows needs no case for a missing one.
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
