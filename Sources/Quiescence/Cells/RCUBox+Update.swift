extension RCUBox {
  /// Copies the current version, lets `change` change the copy, and publishes it.
  ///
  /// Nothing is published when `change` throws. Updates take turns; none is lost. `change` runs
  /// once, under the box's lock: no other writer replaces the version meanwhile. It must neither
  /// write to the same box, which traps, nor wait for a grace period: a writer inside a section may
  /// be waiting for the lock. Boxes that are updated inside each other's closures must always nest
  /// the same way. For everything else there is `updateRetrying(_:)`.
  ///
  /// - Complexity: a copy of the value, one allocation, the box's lock. Does not wait for readers.
  /// - Threads: any, also inside a section.
  public borrowing func update<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try published.update(change) { protection.retire($0) }
  }

  /// Copies the current version, lets `change` change the copy without holding the lock, and
  /// publishes it if no other writer has published meanwhile; else starts again with the newer
  /// version.
  ///
  /// `change` may run several times, and only the result of its last run is published. It may take
  /// long, wait for a grace period, and read or write other boxes and this one; when it writes to
  /// this box each time, the call never returns. Nothing is published when it throws. Of several
  /// writers at the same time one succeeds each time, but a long `change` among quick writers may
  /// run often.
  ///
  /// - Complexity: one allocation; for each run a copy of the value, and the box's lock twice, for
  ///   the copy and to publish. Does not wait for readers, but for the closure of an ``update(_:)``
  ///   that is under way.
  /// - Threads: any, also inside a section.
  public borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: (inout Value) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try published.updateRetrying(change) { protection.retire($0) }
  }

  /// ``updateRetrying(_:)-(_)`` with a `change` that may suspend.
  ///
  /// - Complexity: as without `async`.
  public nonisolated(nonsending) borrowing func updateRetrying<Result: ~Copyable, Failure: Error>(
    _ change: nonisolated(nonsending) (inout Value) async throws(Failure) -> Result
  ) async throws(Failure) -> Result {
    try await published.updateRetrying(change) { protection.retire($0) }
  }
}
