internal import Glibc
internal import Synchronization

/// The lock that the writers of one box take turns under, and the trap for one that would wait for itself.
struct WriterTurn: ~Copyable, Sendable {
  /// The thread that runs a closure of its own during its turn; 0 when nobody does.
  private let closureOwner = Atomic<UInt>(0)
  private let lock = Lock()

  init() {}

  /// Waits for the turn. Traps inside a closure that this thread runs during its turn.
  func take() {
    // Relaxed: this thread alone stores its identity, and takes it back before it gives the turn away. So the
    // identity is here exactly while this thread's closure runs, whatever other threads do.
    let owner = closureOwner.load(ordering: .relaxed)
    if owner != 0, owner == UInt(pthread_self()) { Misuse.writeInsideWrite() }
    lock.acquire()
  }

  /// Lets the next writer go.
  func give() {
    lock.release()
  }

  /// Waits for a turn during which a closure of the user runs.
  func takeForClosure() {
    take()
    closureOwner.store(UInt(pthread_self()), ordering: .relaxed)
  }

  /// The closure has ended; the turn goes on until it is given.
  func closureEnded() {
    closureOwner.store(0, ordering: .relaxed)
  }
}
