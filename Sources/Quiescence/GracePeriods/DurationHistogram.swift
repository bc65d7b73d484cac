/// How long something took, many times: counts by power of two, from nanoseconds to centuries.
public struct DurationHistogram: Hashable, Sendable {
  /// At index i, how many took from 2^i up to 2^(i+1) nanoseconds; those under a nanosecond are at
  /// index 0.
  public private(set) var counts = [Int](repeating: 0, count: 63)
  /// The longest one.
  public private(set) var longest = Duration.zero

  /// Without any.
  public init() {}

  /// How many there were.
  public var total: Int { counts.reduce(0, +) }

  /// An upper bound for the fastest `fraction` of them, to within a factor of two; zero without
  /// any.
  ///
  /// - Parameter fraction: from 0 to 1; 0.5 for the median.
  public func quantile(_ fraction: Double) -> Duration {
    let wanted = fraction * Double(total)
    var seen = 0
    for (index, count) in counts.enumerated() where count > 0 {
      seen += count
      if Double(seen) >= wanted { return min(longest, .nanoseconds(Int64.max >> (62 - index))) }
    }
    return .zero
  }

  mutating func add(_ duration: Duration) {
    let nanoseconds = max(1, duration.nanoseconds)
    counts[min(counts.count - 1, 63 - nanoseconds.leadingZeroBitCount)] += 1
    longest = max(longest, duration)
  }
}
