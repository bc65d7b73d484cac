import Foundation

/// What the process uses, as the kernel counts it.
package enum ProcessUsage {
  /// Resident bytes.
  package static var memory: Int { field("VmRSS:") * 1024 }
  /// Bytes of address space.
  package static var addressSpace: Int { field("VmSize:") * 1024 }
  package static var threads: Int { field("Threads:") }

  /// How many mappings of files and how many open descriptors there are.
  package static func mappingsAndDescriptors() throws -> [Int] {
    func look() throws -> [Int] {
      let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
      let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
      // Anonymous mappings come and go with the allocator.
      return [maps.split(separator: "\n").count { $0.contains("/") }, open]
    }
    // The kernel shows the mappings in several parts, between which they may change.
    var last = try look()
    while true {
      let next = try look()
      if next == last { return next }
      last = next
    }
  }

  private static func field(_ name: String) -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
    return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
