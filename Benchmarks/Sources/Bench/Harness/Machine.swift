import CPeers
import Foundation

/// The machine of a run.
struct Machine: Encodable, CustomStringConvertible {
  /// The processors that this process may use.
  let processors: [Int32]
  let model: String
  let kernel: String
  /// The compilers of both languages.
  let compiler: String
  let libc: String
  let date: String

  /// `compiler` is the version that the Swift compiler reports; only the build script knows it.
  static func current(compiler: String?) throws -> Machine {
    var processors = [Int32](repeating: 0, count: 1024)
    let count = peer_allowed_processors(&processors, 1024)
    if count <= 0 {
      throw MeasurementError("cannot tell which processors to use: \(String(cString: strerror(-count)))")
    }
    return Machine(
      processors: Array(processors.prefix(Int(count))), model: processorModel, kernel: kernelRelease,
      compiler: [compiler, String(cString: peer_compiler())].compactMap { $0 }.joined(separator: ", "),
      libc: "glibc \(String(cString: peer_c_library()))", date: ISO8601DateFormatter().string(from: Date()))
  }

  var description: String {
    let count = processors.count == 1 ? "1 processor" : "\(processors.count) processors"
    return "\(count), \(model), Linux \(kernel), \(compiler), \(libc), \(date)"
  }

  /// 1, 2, 4 and so on up to twice the number of processors, which is the last element.
  var threadCounts: [Int] {
    let most = 2 * processors.count
    var counts = Array(sequence(first: 1) { $0 * 2 < most ? $0 * 2 : nil })
    if !counts.contains(processors.count) { counts.append(processors.count) }
    return counts.sorted() + [most]
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
