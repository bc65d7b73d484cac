import Glibc
import Synchronization

/// The state that reader and writer share. One object, created before the threads start: a global
/// that is initialized at its first use would order the second thread after the first.
final class Shared: Sendable {
  nonisolated(unsafe) let number = UnsafeMutablePointer<Int>.allocate(capacity: 1)
  private nonisolated(unsafe) let pointer: Atomic<UnsafeMutablePointer<Int>?>

  let hasRead = Flag()
  let mayUse = Flag()
  let hasUsed = Flag()
  let isWritten = Flag()
  let hasFreed = Flag()

  private let readerID = Atomic<Int>(0)

  init() {
    number.initialize(to: 1)
    pointer = Atomic(number)
  }

  /// The published pointer, for a reader. Acquire, as for every reader of a pointer.
  var published: UnsafeMutablePointer<Int>? { pointer.load(ordering: .acquiring) }

  func unpublish() -> UnsafeMutablePointer<Int>? {
    pointer.exchange(nil, ordering: .acquiringAndReleasing)
  }

  /// Starts a detached thread, which is never joined.
  func startReader(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let start = Unmanaged.passRetained(
      Start { [self] in
        readerID.store(Self.threadID(), ordering: .relaxed)
        body()
      })
    let error = pthread_create(
      &thread, nil,
      { opaque in
        // The argument of this call.
        Unmanaged<Start>.fromOpaque(opaque!).takeUnretainedValue().body()
        return nil
      }, start.toOpaque())
    precondition(error == 0)
    pthread_detach(thread)
  }

  /// Waits until the reader's thread has ended. Not by a join, which would order the two threads.
  func waitForReadersEnd() {
    let path = "/proc/self/task/\(readerID.load(ordering: .relaxed))"
    while access(path, F_OK) == 0 { sched_yield() }
  }

  /// The kernel's id of the calling thread, which the Glibc module does not offer.
  private static func threadID() -> Int {
    var path = [CChar](repeating: 0, count: Int(PATH_MAX))
    precondition(realpath("/proc/thread-self", &path) != nil)
    // "/proc/17/task/23"
    return atol(strrchr(&path, Int32(UInt8(ascii: "/"))) + 1)
  }

  private final class Start: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
}

/// A flag that does not order threads.
struct Flag: ~Copyable, Sendable {
  private let isUp = Atomic<Bool>(false)
  var isRaised: Bool { isUp.load(ordering: .relaxed) }
  func raise() { isUp.store(true, ordering: .relaxed) }
  func wait() { while !isRaised { sched_yield() } }
}
