import Traffic

/// What the demo ends with.
struct DemoSummary: Encodable {
  struct Unload: Encodable {
    let p50: Int
    let p99: Int
    let max: Int

    init(_ microseconds: [Int]) {
      let sorted = microseconds.sorted()
      p50 = DemoSummary.percentile(50, of: sorted)
      p99 = DemoSummary.percentile(99, of: sorted)
      max = sorted.last ?? 0
    }
  }

  let event = "summary"
  let seconds: Double
  let datagramsSent: Int
  let datagramsAnswered: Int
  let lost: Int
  let corrupted: Int
  let duplicates: Int
  /// Datagrams that the kernel threw away on their way.
  let kernelDrops: Int
  let moduleCalls: Int
  let cycles: Int
  let unmapped: Int
  let unload: Unload
  /// With --replace.
  let replace: Replace?

  /// What replacements came to.
  struct Replace: Encodable {
    let replacements: Int
    let perSecond: Double
    /// Answers that another number of versions have seen than one on each way.
    let mismarked: Int
    /// What the versions have counted together; nil when that could not be read.
    let datagramsSeen: Int?
    /// From each request to its answer.
    let duration: Unload

    private enum CodingKeys: String, CodingKey {
      case replacements, perSecond, mismarked, datagramsSeen
      case duration = "replaceUs"
    }
  }

  private enum CodingKeys: String, CodingKey {
    case event, seconds, datagramsSent, datagramsAnswered, lost, corrupted, duplicates, kernelDrops,
      moduleCalls
    case cycles, unmapped, replace
    case unload = "unloadUs"
  }

  /// - Parameters:
  ///   - isReplacing: The cycles are replacements.
  ///   - seen: What the versions have counted together.
  init(
    seconds: Double, traffic: TrafficReport, kernelDrops: Int, cycles: DemoCycles.Tally,
    isReplacing: Bool = false, seen: Int? = nil
  ) {
    self.seconds = (seconds * 1000).rounded() / 1000
    datagramsSent = traffic.sent
    datagramsAnswered = traffic.answered
    lost = traffic.lost
    corrupted = traffic.corrupted
    duplicates = traffic.duplicates
    self.kernelDrops = kernelDrops
    moduleCalls = cycles.moduleCalls
    self.cycles = cycles.cycles
    unmapped = cycles.unmapped
    unload = Unload(cycles.unloadMicroseconds)
    let perSecond = Double(cycles.cycles) / max(seconds, 0.001)
    replace =
      isReplacing
      ? Replace(
        replacements: cycles.cycles, perSecond: (perSecond * 10).rounded() / 10,
        mismarked: traffic.mismarked, datagramsSeen: seen, duration: Unload(cycles.replaceMicroseconds)) : nil
  }

  /// The smallest value that at least `percent` of the values do not exceed.
  static func percentile(_ percent: Int, of sorted: [Int]) -> Int {
    if sorted.isEmpty { return 0 }
    return sorted[(sorted.count * percent + 99) / 100 - 1]
  }

  /// What is wrong, a line each; none when all is as it should be.
  var complaints: [String] {
    var complaints: [String] = []
    if lost > 0 {
      let kernel = kernelDrops > 0 ? ", \(kernelDrops) of them in full receive buffers" : ""
      complaints.append("\(lost) of \(datagramsSent) datagrams were lost\(kernel)")
    }
    if duplicates > 0 { complaints.append("\(duplicates) answers came twice") }
    if corrupted > 0 { complaints.append("\(corrupted) answers were wrong") }
    if unmapped != cycles {
      complaints.append("\(cycles - unmapped) of \(cycles) images were still mapped after the unload")
    }
    if let replace { complaints += self.complaints(of: replace) }
    return complaints
  }

  private func complaints(of replace: Replace) -> [String] {
    var complaints: [String] = []
    if replace.mismarked > 0 {
      complaints.append("\(replace.mismarked) datagrams met another number of versions than one on each way")
    }
    // What is lost was seen once or twice.
    let passes = datagramsAnswered * DemoStamps.marks
    if lost == 0 && duplicates == 0, let seen = replace.datagramsSeen, seen != passes {
      complaints.append("the versions have counted \(seen) datagrams, and \(passes) have passed")
    }
    return complaints
  }
}
