internal import _QuiescenceShims

/// State under a lock. Other than the standard library's `Mutex` it works in a forked child, and the thread sanitizer
/// sees it: see `qs_lock.h`.
package struct Locked<State>: ~Copyable, @unchecked Sendable {
  // Unchecked: the state is reached under the lock alone.
  private let lock: OpaquePointer
  private let state: UnsafeMutablePointer<State>

  package init(_ state: State) {
    lock = qs_lock_create()
    self.state = .allocate(capacity: 1)
    self.state.initialize(to: state)
  }

  deinit {
    qs_lock_destroy(lock)
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Runs `body` with the state. Not reentrant.
  @discardableResult
  package borrowing func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    qs_lock_acquire(lock)
    defer { qs_lock_release(lock) }
    return try body(&state.pointee)
  }

  /// For the time of a fork: nobody is inside, so that the child's copy is whole.
  borrowing func holdForFork() { qs_lock_acquire(lock) }
  borrowing func releaseAfterFork() { qs_lock_release(lock) }

  /// In a forked child: whoever had the lock is gone.
  borrowing func resetAfterFork() { qs_lock_reset(lock) }

  /// Changes the state, by the thread that holds it for a fork.
  borrowing func whileHeld(_ body: (inout State) -> Void) { body(&state.pointee) }
}
