import Foundation
import ModuleManager
import ToolSupport

/// What one scheme cost, and what it kept.
struct SchemeRow: Codable {
  var scheme: String
  var source: String
  var promises: [String]
  /// A reference taken and given back, on one thread.
  var getPutNanoseconds: Double
  /// A call of one hook through its hook point, on an online reader.
  var hookNanoseconds: Double
  /// A call through a pointer, of a function that does as little.
  var bareCallNanoseconds: Double
  /// From the request to the check of the mappings, of the unloads that were not refused.
  var unload: Latency
  /// One grace period of the relay's readers meanwhile: what an unload that waits for one has to
  /// wait.
  var gracePeriod: Latency
  var failedGets: Int
  var refusedUnloads: Int
  /// Of the heap, for a module without an image: records, gates, locks. Not the slots of counters.
  var bytes: Int
  /// Datagrams without an answer.
  var lost: Int
  var answered: Int
  var unloads: Int
  /// Unloads after which the image was still mapped.
  var leftMapped: Int

  struct Latency: Codable {
    var p50: Double
    var p99: Double
    var max: Double

    init(_ durations: [Duration]) {
      let sorted = durations.map { $0 / .microseconds(1) }.sorted()
      func at(_ share: Double) -> Double {
        if sorted.isEmpty { return 0 }
        return (sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))] * 10).rounded() / 10
      }
      p50 = at(0.5)
      p99 = at(0.99)
      max = at(1)
    }
  }

  private enum CodingKeys: String, CodingKey {
    case scheme, source, promises, bytes, lost, answered, unloads, failedGets, refusedUnloads, leftMapped
    case getPutNanoseconds = "getPutNs"
    case hookNanoseconds = "hookNs"
    case bareCallNanoseconds = "bareCallNs"
    case unload = "unloadUs"
    case gracePeriod = "gracePeriodUs"
  }

  static func printHeader() {
    StandardOutput.write(
      cells([
        "scheme", "get+put ns", "hook ns", "bare ns", "unload p50", "p99", "max µs", "GP p50", "failed",
        "refused",
        "unloads", "bytes", "lost",
      ]))
  }

  func print(_ format: RunFormat) {
    if format == .json { return RunOutput(isJSON: true).json(self) }
    StandardOutput.write(
      Self.cells([
        scheme, "\(getPutNanoseconds)", "\(hookNanoseconds)", "\(bareCallNanoseconds)", "\(unload.p50)",
        "\(unload.p99)", "\(unload.max)", "\(gracePeriod.p50)", grouped(failedGets), grouped(refusedUnloads),
        grouped(unloads), grouped(bytes), grouped(lost),
      ]))
    StandardOutput.write("  \(source); \(promises.joined(separator: ", "))")
  }

  private static func cells(_ texts: [String]) -> String {
    texts.enumerated().map { index, text in
      let blanks = String(repeating: " ", count: max(0, (index == 0 ? 16 : 10) - text.count))
      return index == 0 ? text + blanks : blanks + text
    }.joined(separator: " ")
  }
}
