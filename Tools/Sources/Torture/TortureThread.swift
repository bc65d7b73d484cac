import Foundation

/// A thread of its own, whose blocking does not affect other threads.
struct TortureThread: @unchecked Sendable {
  // Unchecked for the handle, which is a number.
  private let thread: pthread_t

  /// Throws if the system has no more threads.
  init(_ body: @escaping @Sendable () -> Void) throws(TortureError) {
    let start = Unmanaged.passRetained(Start(body))
    var thread = pthread_t()
    let error = pthread_create(
      &thread, nil,
      { start in
        // The argument of the call below.
        Unmanaged<Start>.fromOpaque(start!).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    if error != 0 {
      start.release()
      throw TortureError("cannot start a thread: \(String(cString: strerror(error)))")
    }
    self.thread = thread
  }

  /// Waits until the thread has ended, including its destructors. Call this once.
  func join() { pthread_join(thread, nil) }

  private final class Start: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
      self.body = body
    }
  }
}

/// Why a torture could not be started.
public struct TortureError: Error, CustomStringConvertible {
  /// What failed.
  public let description: String

  init(_ description: String) {
    self.description = description
  }
}

/// Runs `body` as a task, and blocks the calling thread until it has returned.
func blockOn(_ body: @escaping @Sendable () async -> Void) {
  let done = DispatchSemaphore(value: 0)
  Task.detached {
    await body()
    done.signal()
  }
  done.wait()
}

/// Sleeps. Used only to give other threads time, never as proof that something has happened.
func sleep(microseconds: Int) {
  usleep(UInt32(microseconds))
}
