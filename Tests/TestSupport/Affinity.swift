import Glibc

/// The processors that threads may run on. The Glibc module leaves these functions out.
package enum Affinity {
  private typealias Function = @convention(c) (pid_t, Int, UnsafeMutableRawPointer) -> Int32
  private static let set = unsafeBitCast(dlsym(nil, "sched_setaffinity"), to: Function.self)
  private static let get = unsafeBitCast(dlsym(nil, "sched_getaffinity"), to: Function.self)
  private static let bits = 1024

  package static let processors: [Int] = {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    // Of the main thread, which no test pins.
    precondition(get(getpid(), bits / 8, &mask) == 0)
    return (0..<bits).filter { mask[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
  }()

  /// Pins a thread to a processor; thread 0 is the calling thread. Returns false if the thread has
  /// ended.
  @discardableResult
  package static func move(_ thread: pid_t, to processor: Int) -> Bool {
    var mask = [UInt64](repeating: 0, count: bits / 64)
    mask[processor / 64] = 1 << UInt64(processor % 64)
    return set(thread, bits / 8, &mask) == 0
  }

  /// Pins the calling thread to one of the processors. Threads with consecutive indices run on
  /// different ones.
  ///
  /// A busy machine may run all threads of a test on one processor for minutes; then the
  /// interleavings that need two processors never happen.
  package static func keep(_ index: Int) { move(0, to: processors[index % processors.count]) }
}
