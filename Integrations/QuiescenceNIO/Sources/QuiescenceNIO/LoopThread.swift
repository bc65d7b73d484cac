internal import Glibc
internal import NIOPosix
internal import Quiescence
internal import Synchronization

/// The thread of a loop that goes offline before it blocks: from the loop's first task to the
/// thread's end.
@usableFromInline
final class LoopThread: Sendable {
  private static let current = ThreadSpecificVariable<LoopThread>()
  /// The loops, by the kernel's ids of their threads.
  private static let loops = Mutex<[Int32: String]>([:])

  private let id: Int32

  private init(_ id: Int32) { self.id = id }

  deinit { _ = Self.loops.withLock { $0.removeValue(forKey: id) } }

  /// The calling thread is that of the loop `name`.
  static func enroll(as name: String) {
    let thread = LoopThread(currentID)
    loops.withLock { $0[thread.id] = name }
    // Released by the end of the thread.
    current.currentValue = thread
  }

  /// The kernel's id of the calling thread, the end of "4711/task/4712"; 0 without a `/proc`, and
  /// then no report names the loop.
  private static var currentID: Int32 {
    var link = [CChar](repeating: 0, count: 64)
    let length = readlink("/proc/thread-self", &link, link.count)
    let number = String(decoding: link.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      .split(separator: "/").last
    return number.flatMap { Int32($0) } ?? 0
  }

  /// The loop of a thread.
  static func loop(ofThread id: Int32) -> String? { loops.withLock { $0[id] } }

  /// The calling thread may read until the end of the tick. Traps where it would stay online.
  @inline(never) @usableFromInline
  static func goOnline() {
    if current.currentValue == nil {
      fatalError(
        "readOnLoop on a thread that is no event loop of MultiThreadedEventLoopGroup.quiescent: no code takes it "
          + "offline, so grace periods would wait for it; use such a group, or a box of Memb, which any thread reads"
      )
    }
    QSBR.unsafeGoOnline()
  }
}
