import Glibc

/// Which processors threads may run on. The C library's module leaves these functions out.
package enum Affinity {
  private typealias Function = @convention(c) (pid_t, Int, UnsafeMutableRawPointer) -> Int32
  private static let set = unsafeBitCast(dlsym(nil, "sched_setaffinity"), to: Function.self)
  private static let get = unsafeBitCast(dlsym(nil, "sched_getaffinity"), to: Function.self)
  private static let bits = 1024

  package static let processors: [Int] = {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    // Of the main thread, which no test binds.
    precondition(get(getpid(), bits / 8, &mask) == 0)
    return (0..<bits).filter { mask[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
  }()

  /// Thread 0 is the calling one. False when it is not there any more.
  @discardableResult
  package static func move(_ thread: pid_t, to processor: Int) -> Bool {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    mask[processor / 64] = 1 << UInt64(processor % 64)
    return set(thread, bits / 8, &mask) == 0
  }

  /// Keeps the calling thread on one of the processors: threads with consecutive numbers on different ones.
  ///
  /// A busy machine may run all threads of a test on one processor for minutes; what takes two of them never happens then.
  package static func keep(_ index: Int) { move(0, to: processors[index % processors.count]) }
}
