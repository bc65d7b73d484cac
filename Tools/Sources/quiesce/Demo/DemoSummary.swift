import Traffic

/// What the demo ends with.
struct DemoSummary: Encodable {
  struct Unload: Encodable {
    let p50: Int
    let p99: Int
    let max: Int
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

  private enum CodingKeys: String, CodingKey {
    case event, seconds, datagramsSent, datagramsAnswered, lost, corrupted, duplicates, kernelDrops,
      moduleCalls
    case cycles, unmapped
    case unload = "unloadUs"
  }

  init(seconds: Double, traffic: TrafficReport, kernelDrops: Int, cycles: DemoCycles.Tally) {
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
    let sorted = cycles.unloadMicroseconds.sorted()
    unload = Unload(
      p50: Self.percentile(50, of: sorted), p99: Self.percentile(99, of: sorted),
      max: sorted.last ?? 0)
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
    return complaints
  }
}
