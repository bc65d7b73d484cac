package import Bigref
internal import Quiescence

/// The locks that have to be held to unload one module: a list sorted by address, on which a lock
/// may be several times.
///
/// The manager owns the list's nodes. In Adam J. Richter's patch (23 December 2002) the module
/// owned them, and the unload walked them to unlock after it had freed the module.
package final class LockOrder: Sendable {
  private let locks = Primitive.Guarded<[ReadWriteSemaphore]>([])

  package init() {}

  /// Before the first with a larger address. The same lock may be registered any number of times.
  package func register(_ lock: ReadWriteSemaphore) {
    locks.withLock { locks in
      let index = locks.firstIndex { Self.address($0) > Self.address(lock) } ?? locks.endIndex
      locks.insert(lock, at: index)
    }
  }

  /// Every lock, in the order in which they are taken: by address, each once.
  package var distinct: [ReadWriteSemaphore] {
    locks.withLock { locks in
      locks.reduce(into: []) { distinct, lock in
        // The same twice would wait for itself.
        if distinct.last !== lock { distinct.append(lock) }
      }
    }
  }

  /// Runs `body` with the write side of each. Two modules with the same locks take them in the same
  /// order, so neither waits for the other in a circle. When one cannot be had, those that
  /// were taken are released, and the failure says why (`EINTR`, `EDEADLK`). All on one thread: a
  /// lock is released by the thread that took it.
  package func withAll<Result>(
    cancelledBy cancellation: WaitCancellation? = nil, _ body: () -> Result
  ) -> Swift.Result<Result, LockError> {
    // Remembered: others may be registered meanwhile.
    let locks = distinct
    for (index, lock) in locks.enumerated() {
      let error = lock.acquireWrite(cancelledBy: cancellation)
      if error == 0 { continue }
      for held in locks[..<index] { held.releaseWrite() }
      return .failure(LockError(errno: error))
    }
    defer { for lock in locks { lock.releaseWrite() } }
    return .success(body())
  }

  private static func address(_ lock: ReadWriteSemaphore) -> UInt {
    UInt(bitPattern: Unmanaged.passUnretained(lock).toOpaque())
  }
}

/// Why a lock was not taken.
package struct LockError: Error {
  package let errno: Int32
}
