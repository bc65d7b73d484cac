extension Flavor {
  /// Grace periods that have ended since the process started. One load; any thread, also inside a
  /// section.
  public static var completedGracePeriods: Int { Int(domain.sequence.completed) }

  /// The grace periods since the process started.
  ///
  /// - Complexity: two locks, neither of which a reader ever takes. Any thread.
  public static var statistics: GracePeriodStatistics {
    GracePeriodStatistics(
      gracePeriods: Int(domain.sequence.completed), durations: domain.sequence.durations,
      stalls: domain.stalls.count)
  }

  /// Threads that are registered as readers now, without those that other code has registered with
  /// liburcu. 0 for a flavor that is not this library's.
  ///
  /// Under ``Bulletproof``, a thread that first read in its very last destructor counts until the
  /// kernel has removed it, which can be some microseconds after `pthread_join` has returned.
  ///
  /// - Complexity: a lock, which a thread takes when it registers. Any thread.
  public static var registeredReaders: Int { domain.readers }
}
