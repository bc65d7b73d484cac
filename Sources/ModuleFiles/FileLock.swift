internal import Glibc

/// `flock(2)` with a limit, and the processes that hold such a lock.
public enum FileLock {
  /// A process that holds a lock.
  public struct Holder: Hashable, Sendable, CustomStringConvertible {
    /// The process that took the lock. It may have ended since, and left the lock to a child.
    public let process: Int32
    /// The process's name; nil when it has ended or is not visible.
    public let name: String?

    /// Such as `process 4711 (depmod)`.
    public var description: String {
      name.map { "process \(process) (\($0))" } ?? "process \(process), which has ended"
    }
  }

  /// The processes that hold a lock on the open file, as far as the kernel tells.
  ///
  /// Nothing is reported for a process in another process namespace, or where `/proc` is not
  /// mounted.
  ///
  /// - Complexity: O(file locks of the system). Source: proc_locks(5).
  public static func holders(of descriptor: Int32) -> [Holder] {
    var status = stat()
    guard fstat(descriptor, &status) == 0, let bytes = try? ModuleIndex.contents("/proc/locks") else {
      return []
    }
    let file =
      "\(hexadecimal(major(status.st_dev))):\(hexadecimal(minor(status.st_dev))):\(status.st_ino)"
    var processes: [Int32] = []
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      // `1: FLOCK  ADVISORY  WRITE 4711 08:01:12345 0 EOF`; a waiter's line has `->` behind the
      // number.
      let fields = line.split(separator: " ")
      guard fields.count > 5, fields[1] == "FLOCK", fields[5] == file, let process = Int32(fields[4]),
        process > 0, !processes.contains(process)
      else { continue }
      processes.append(process)
    }
    return processes.map { Holder(process: $0, name: name(of: $0)) }
  }

  private static func name(of process: Int32) -> String? {
    guard let bytes = try? ModuleIndex.contents("/proc/\(process)/comm") else { return nil }
    return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
  }

  private static func hexadecimal(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return digits.utf8.count < 2 ? "0\(digits)" : digits
  }

  // gnu_dev_major(3) and gnu_dev_minor(3).
  private static func major(_ device: dev_t) -> UInt64 {
    UInt64(device) >> 8 & 0xfff | UInt64(device) >> 32 & 0xffff_f000
  }

  private static func minor(_ device: dev_t) -> UInt64 {
    UInt64(device) & 0xff | UInt64(device) >> 12 & 0xffff_ff00
  }

  /// Takes the lock if it is free. 0, or the error number: `EWOULDBLOCK` when it is held.
  static func take(_ descriptor: Int32, _ operation: Int32) -> Int32 {
    while flock(descriptor, operation | LOCK_NB) != 0 {
      if errno != EINTR { return errno }
    }
    return 0
  }

  /// A wait for locks, until one deadline.
  ///
  /// `flock(2)` has no limit, so the wait asks again and again: at most 10 ms pass between the
  /// release of the lock and the next attempt.
  struct Wait {
    private let limit: Duration
    private let deadline: ContinuousClock.Instant

    init(_ limit: Duration) {
      self.limit = limit
      deadline = .now + limit
    }

    /// Nil when the lock of `path` was taken.
    func take(_ descriptor: Int32, _ operation: Int32, of path: String) -> ModuleFileError? {
      var pause: UInt32 = 100
      while true {
        let error = FileLock.take(descriptor, operation)
        if error == 0 { return nil }
        if error != EWOULDBLOCK { return ModuleFileError(path, error, "cannot be locked") }
        if ContinuousClock.now >= deadline { return timeout(descriptor, path) }
        usleep(pause)
        pause = min(2 * pause, 10_000)
      }
    }

    private func timeout(_ descriptor: Int32, _ path: String) -> ModuleFileError {
      let holders = FileLock.holders(of: descriptor).prefix(4).map(\.description)
      let held = holders.isEmpty ? "another process holds it" : "held by \(holders.joined(separator: ", "))"
      return ModuleFileError(path, ETIMEDOUT, "cannot be locked within \(limit / .seconds(1)) s: \(held)")
    }
  }
}
