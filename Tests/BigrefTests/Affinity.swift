import Glibc

/// Which processors threads may run on. The C library's module leaves these functions out.
enum Affinity {
  private typealias Function = @convention(c) (pid_t, Int, UnsafeMutableRawPointer) -> Int32
  private static let set = unsafeBitCast(dlsym(nil, "sched_setaffinity"), to: Function.self)
  private static let get = unsafeBitCast(dlsym(nil, "sched_getaffinity"), to: Function.self)
  private static let bits = 1024

  static let processors: [Int] = {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    precondition(get(0, bits / 8, &mask) == 0)
    return (0..<bits).filter { mask[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
  }()

  /// Thread 0 is the calling one.
  static func move(_ thread: pid_t, to processor: Int) -> Bool {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    mask[processor / 64] = 1 << UInt64(processor % 64)
    return set(thread, bits / 8, &mask) == 0
  }
}
