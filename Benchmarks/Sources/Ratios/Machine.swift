import CPeers
import Foundation

/// Where a run took place.
struct Machine: Encodable, CustomStringConvertible {
  /// Those that this process may use.
  let processors: [Int32]
  let model: String
  let kernel: String
  let date: String

  static func current() throws -> Machine {
    var processors = [Int32](repeating: 0, count: 1024)
    let count = peer_allowed_processors(&processors, 1024)
    if count <= 0 {
      throw MeasurementError("cannot tell which processors to use: \(String(cString: strerror(-count)))")
    }
    return Machine(
      processors: Array(processors.prefix(Int(count))), model: processorModel, kernel: kernelRelease,
      date: ISO8601DateFormatter().string(from: Date()))
  }

  var description: String {
    let count = processors.count == 1 ? "1 processor" : "\(processors.count) processors"
    return "\(count), \(model), Linux \(kernel), \(date)"
  }

  private static var processorModel: String {
    let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
    let line = lines.first { $0.hasPrefix("model name") }
    let model = line?.split(separator: ":", maxSplits: 1).last?.trimmingCharacters(in: .whitespaces)
    return model ?? "unknown"
  }

  private static var kernelRelease: String {
    let text = try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)
    return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "unknown"
  }
}
