import Foundation

/// What the process uses, as the kernel counts it.
package enum ProcessUsage {
  /// Resident bytes.
  package static var memory: Int { field("VmRSS:") * 1024 }
  /// Bytes of address space.
  package static var addressSpace: Int { field("VmSize:") * 1024 }
  package static var threads: Int { field("Threads:") }

  private static func field(_ name: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
    return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
