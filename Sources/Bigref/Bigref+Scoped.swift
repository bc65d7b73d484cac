extension Bigref {
  /// Runs `body` with a reference, unless the counter was killed. Releases the reference when
  /// `body` returns or throws.
  ///
  /// ```swift
  /// let users = Bigref()
  /// let answer = users.withReference { 42 }
  /// print(answer ?? 0)
  /// ```
  ///
  /// A counter that is being killed admits no new user here, so its count comes to zero however
  /// many threads call this. For an object that must be used although it is ending, there is
  /// ``tryAcquire()``.
  ///
  /// - Complexity: as ``tryAcquireLive()`` and ``release()``.
  /// - Threads: any, also inside sections. `body` may block.
  /// - Returns: What `body` returns; nil if the counter was killed, and `body` has not run.
  @inlinable @inline(__always)
  public borrowing func withReference<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result? {
    if !tryAcquireLive() { return nil }
    defer { release() }
    return try body()
  }

  /// Runs `body`, which may suspend, with a reference, unless the counter was killed. The reference
  /// belongs to no thread: `body` may continue on another one.
  ///
  /// - Complexity: as ``tryAcquireLive()`` and ``release()``.
  /// - Returns: What `body` returns; nil if the counter was killed, and `body` has not run.
  @inlinable
  public nonisolated(nonsending) borrowing func withReference<Result: ~Copyable, Failure: Error>(
    _ body: nonisolated(nonsending) () async throws(Failure) -> Result
  ) async throws(Failure) -> Result? {
    if !tryAcquireLive() { return nil }
    defer { release() }
    return try await body()
  }
}
