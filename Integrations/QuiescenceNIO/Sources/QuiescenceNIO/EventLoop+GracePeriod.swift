public import NIOCore
public import Quiescence

extension EventLoop {
  /// A future that succeeds after a grace period that begins after this call.
  ///
  /// The section that calls it is waited for as well, and so is the tick, if the loop has read
  /// under `QSBR`: the future does not succeed within the tick. The grace period is not cancelled
  /// with anything. Shut the loop down after the future: NIO drops what comes to a loop that has
  /// ended.
  ///
  /// - Complexity: two locks, a task and a promise. All that are asked for before the next grace
  ///   period begins share it.
  /// - Threads: any, also on the loop and inside a section.
  public func gracePeriod<F: Flavor>(of flavor: F.Type = Memb.self) -> EventLoopFuture<Void> {
    let gracePeriod = F.startGracePeriod()
    return makeFutureWithTask { await gracePeriod.elapsed() }
  }

  /// A future that succeeds when everything that was retired to `reclaimer` before this call has
  /// run, and whatever that retires in turn. As `RCUReclaimer.barrier()`.
  ///
  /// - Complexity: a task and a promise, and what `reclaimer` has to run.
  /// - Threads: any, also on the loop that runs the reclaimer's callbacks, and inside a section.
  public func barrier(of reclaimer: RCUReclaimer) -> EventLoopFuture<Void> {
    makeFutureWithTask { await reclaimer.barrier() }
  }

  /// ``barrier(of:)-(RCUReclaimer)`` of the flavor's shared reclaimer, which boxes use.
  ///
  /// - Complexity: as for a reclaimer.
  /// - Threads: any, also on the loop and inside a section.
  public func barrier<F: Flavor>(of flavor: F.Type = Memb.self) -> EventLoopFuture<Void> {
    barrier(of: F.reclaimer)
  }
}
