internal import Glibc
internal import Synchronization
internal import _QuiescenceShims

/// The lock that the writers of one box take turns under, and the trap for a writer that would wait
/// for itself.
///
/// One word, an address: what writers write lies behind it, in the cache line of the lock.
struct WriterTurn: ~Copyable, Sendable {
  private let lock = Lock()

  init() {}

  /// The thread that runs a closure of the user during its turn; 0 while no thread does.
  private var closureOwner: UnsafeMutablePointer<Atomic<UInt>> { lock.word }

  /// Waits for the turn. Traps inside a closure that this thread runs during its turn.
  func take() {
    // Relaxed: this thread alone stores its own identity, and clears it before it gives the turn.
    // So the word holds this thread's identity exactly while this thread's closure runs, whatever
    // other threads store.
    let owner = closureOwner.pointee.load(ordering: .relaxed)
    if owner != 0, owner == UInt(pthread_self()) { Misuse.writeInsideWrite() }
    lock.acquire()
  }

  /// Lets the next writer continue.
  func give() {
    lock.release()
  }

  /// Waits for a turn during which a closure of the user runs.
  func takeForClosure() {
    take()
    closureOwner.pointee.store(UInt(pthread_self()), ordering: .relaxed)
    // What the closure retires must not wait for readers: one of them may wait for this turn.
    qs_thread_begin_writing()
  }

  /// The closure has ended; the turn lasts until ``give()``.
  func closureEnded() {
    qs_thread_end_writing()
    closureOwner.pointee.store(0, ordering: .relaxed)
  }
}
