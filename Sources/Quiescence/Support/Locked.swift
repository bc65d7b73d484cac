internal import Synchronization
internal import _QuiescenceShims

/// A lock that works in a forked child, and that the thread sanitizer sees: see `qs_lock.h`.
@usableFromInline
package struct Lock: ~Copyable, @unchecked Sendable {
  // Unchecked for the pointer: the lock behind it is made for several threads.
  private let lock = qs_lock_create()

  @usableFromInline
  package init() {}

  deinit { qs_lock_destroy(lock) }

  @usableFromInline
  package borrowing func acquire() { qs_lock_acquire(lock) }
  @usableFromInline
  package borrowing func release() { qs_lock_release(lock) }

  /// In a forked child: the lock is free, also when another thread of the parent had it.
  borrowing func reset() { qs_lock_reset(lock) }

  /// A word in the lock's cache line, for the lock's owner; 0 at first.
  var word: UnsafeMutablePointer<Atomic<UInt>> {
    UnsafeMutableRawPointer(qs_lock_word(lock)).assumingMemoryBound(to: Atomic<UInt>.self)
  }
}

/// State under a ``Lock``.
package struct Locked<State>: ~Copyable, @unchecked Sendable {
  // Unchecked: the state is reached under the lock alone.
  private let lock = Lock()
  private let state: UnsafeMutablePointer<State>

  package init(_ state: State) {
    self.state = .allocate(capacity: 1)
    self.state.initialize(to: state)
  }

  deinit {
    state.deinitialize(count: 1)
    state.deallocate()
  }

  /// Runs `body` with the state. Not reentrant.
  @discardableResult
  package borrowing func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout State) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    lock.acquire()
    defer { lock.release() }
    return try body(&state.pointee)
  }

  /// For the time of a fork: no thread changes the state, so the child's copy is whole.
  borrowing func holdForFork() { lock.acquire() }
  borrowing func releaseAfterFork() { lock.release() }

  /// In a forked child: the thread that had the lock is gone.
  borrowing func resetAfterFork() { lock.reset() }

  /// Changes the state, by the thread that holds it for a fork.
  borrowing func whileHeld(_ body: (inout State) -> Void) { body(&state.pointee) }
}
