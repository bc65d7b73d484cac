internal import NIOCore
public import NIOPosix
internal import Quiescence

extension MultiThreadedEventLoopGroup {
  /// A group whose loops go offline under `QSBR` before they block, so that code on them can read
  /// by `QSBR.readOnLoop(_:)`.
  ///
  /// ```swift
  /// let group = MultiThreadedEventLoopGroup.quiescent(numberOfThreads: 4)
  /// ```
  ///
  /// A loop calls its metrics delegate at the end of each tick, on its own thread, last before it
  /// blocks. The group has a delegate that takes the thread offline there. A quiescent state in
  /// that place is not enough: an idle loop would delay every grace period until its next event.
  ///
  /// A tick ends when no task is ready. Tasks that each submit the next one, without a pause, make
  /// a tick that lasts as long as they do: it delays grace periods, as it delays all input and
  /// output of the loop, and is reported as a stall of the loop's thread.
  ///
  /// - Parameters:
  ///   - count: How many loops, each with a thread.
  ///   - delegate: Called at the end of each tick, before the thread goes offline.
  /// - Complexity: for each tick a call, and two full fences if the tick has read under `QSBR`.
  ///   With a delegate NIO reads the clock twice a tick.
  /// - Threads: any.
  public static func quiescent(
    numberOfThreads count: Int, metricsDelegate delegate: (any NIOEventLoopMetricsDelegate)? = nil
  ) -> MultiThreadedEventLoopGroup {
    let group = MultiThreadedEventLoopGroup(
      numberOfThreads: count, metricsDelegate: QuiescenceDelegate(next: delegate))
    for loop in group.makeIterator() {
      let name = "\(loop)"
      // The first task of the loop: a loop runs tasks in the order in which they come, so each read
      // on the loop finds the thread known.
      loop.execute { LoopThread.enroll(as: name) }
    }
    return group
  }
}

/// Takes a loop's thread offline at the end of each tick.
struct QuiescenceDelegate: NIOEventLoopMetricsDelegate {
  let next: (any NIOEventLoopMetricsDelegate)?

  func processedTick(info: NIOEventLoopTickInfo) {
    // First: it may read as well, and would leave the thread online while the loop blocks.
    next?.processedTick(info: info)
    QSBR.unsafeGoOffline()
  }
}
