public import Quiescence

extension QSBR {
  /// Runs `body` inside a section, on an event loop of a group that
  /// `MultiThreadedEventLoopGroup.quiescent(numberOfThreads:metricsDelegate:)` has made.
  ///
  /// The first read of a tick brings the loop's thread online; at the end of the tick it goes
  /// offline. Whatever is loaded with the section stays valid until `body` returns.
  ///
  /// Traps on every other thread that is not online: on a loop of another group nothing would take
  /// the thread offline. There, read boxes of `Memb`, which cost two stores a read and need nothing
  /// of the loop.
  ///
  /// - Complexity: a load, a compare and two plain stores; the first time in a tick two full
  ///   fences.
  /// - Threads: those of the group's loops. `body` must not block: grace periods wait for it, and a
  ///   stall report names the thread and its loop.
  @inlinable @inline(__always)
  public static func readOnLoop<Result: ~Copyable, Failure: Error>(
    _ body: (inout ReadSection<QSBR>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if !isInside { LoopThread.goOnline() }
    return try read(body)
  }
}

extension RCUBox where F == QSBR, Value: ~Copyable {
  /// Lends the current version to `body` on an event loop. As `QSBR.readOnLoop(_:)`.
  @inlinable @inline(__always)
  public borrowing func readOnLoop<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    if !QSBR.isInside { LoopThread.goOnline() }
    return try read(body)
  }
}

extension SharedRCUBox where F == QSBR, Value: ~Copyable {
  /// Lends the current version to `body` on an event loop. As `QSBR.readOnLoop(_:)`.
  @inlinable @inline(__always)
  public func readOnLoop<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try box.readOnLoop(body)
  }
}
