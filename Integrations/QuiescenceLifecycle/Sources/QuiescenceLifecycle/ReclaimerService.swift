public import Quiescence
public import ServiceLifecycle

/// Reclaimers as a service: at graceful shutdown it runs all that they still have, and ends their
/// threads.
///
/// A service group shuts its services down in the reverse of their order. So list this first: what
/// the others retire last runs as well. The shared reclaimer of a flavor is `Memb.reclaimer`.
///
/// Callbacks wait for readers. If a reader does not leave its section, the service ends at its
/// limit, and the callbacks run when the reader leaves. A task that is cancelled, rather than shut
/// down, ends at once.
public struct ReclaimerService: Service {
  private let reclaimers: [RCUReclaimer]
  private let limit: Duration

  /// A service that drains `reclaimers` when it is shut down.
  ///
  /// - Parameters:
  ///   - reclaimers: In the order in which they are drained.
  ///   - limit: For all of them together.
  public init(_ reclaimers: [RCUReclaimer], drainingWithin limit: Duration = .seconds(10)) {
    self.reclaimers = reclaimers
    self.limit = limit
  }

  /// Waits for the shutdown, and drains.
  ///
  /// - Throws: `CancellationError` if the task was cancelled before; ``CallbacksLeft`` at the
  ///   limit.
  public func run() async throws {
    try await gracefulShutdown()
    let (drained, continuation) = AsyncStream<Bool>.makeStream()
    // Not children: a barrier has no end of its own, and a task group would wait for it.
    let drain = Task { [reclaimers] in
      for reclaimer in reclaimers { await reclaimer.shutdown() }
      continuation.yield(true)
    }
    let timer = Task { [limit] in
      try? await Task.sleep(for: limit)
      continuation.yield(false)
    }
    // In a task of its own, since a stream ends in a cancelled task.
    let isDrained = await Task { await drained.first { _ in true } }.value ?? false
    timer.cancel()
    drain.cancel()
    if !isDrained { throw CallbacksLeft(count: reclaimers.reduce(0) { $0 + $1.statistics.queued }) }
  }
}

/// Callbacks that had not run when a ``ReclaimerService`` came to its limit.
public struct CallbacksLeft: Error, Hashable, CustomStringConvertible {
  /// How many.
  public let count: Int

  /// One line.
  public var description: String {
    "\(count) retired callback\(count == 1 ? "" : "s") left at shutdown: a reader is still inside its section"
  }
}
