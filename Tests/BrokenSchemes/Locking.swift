internal import Glibc
internal import ModuleManager
internal import Quiescence

extension BrokenScheme {
  /// The lock list, as it was posted.
  static let locking = [
    BrokenScheme(
      "broken-free-before-unlock", "the list of locks is walked after the module that holds it was freed",
      "the list of locks is read after it was freed", caughtBy: "listOfLocksIsReadAfterItWasFreed"
    ) { Locking(.freesNodes) },
    BrokenScheme(
      "broken-double-unlock", "unregistering unlocks, and the unload unlocks again",
      "the second unlock releases the lock of another thread", caughtBy: "secondUnlockTraps"
    ) { Locking(.unlocksTwice) },
    BrokenScheme(
      "broken-wait-under-locks", "waits for the last user while it holds what that user needs",
      "the last user needs the lock that the unload holds while it waits for this user",
      caughtBy: "waitUnderLocksKeepsTheLastUserFromReleasing"
    ) { Locking(.waitsUnderLocks) },
  ]
}

/// One lock for the module's tables, used with the defects of the patch of 23 December 2002.
final class Locking: Scheme {
  enum Fault { case freesNodes, unlocksTwice, waitsUnderLocks }

  private let fault: Fault
  private let lock = ReadWriteSemaphore()
  private let users = UserCount()
  private let isClosed = Primitive.Flag(false)

  init(_ fault: Fault) { self.fault = fault }

  func get() -> Bool {
    if lock.acquireRead() != 0 { return false }
    defer { lock.releaseRead() }
    if isClosed.load(ordering: .relaxed) { return false }
    users.get()
    return true
  }

  func put() {
    if lock.acquireRead() != 0 { return users.put() }
    users.put()
    lock.releaseRead()
  }

  var references: Int { users.value }

  func unload(_ operation: UnloadOperation) {
    // A node of the list, in memory that is freed with the module.
    nonisolated(unsafe) let page = mmap(
      nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    nonisolated(unsafe) let node = page.assumingMemoryBound(to: Unmanaged<ReadWriteSemaphore>.self)
    node.initialize(to: Unmanaged.passUnretained(lock))
    _ = lock.acquireWrite()
    operation.begin()
    if fault == .waitsUnderLocks { while users.value > 0 { Primitive.yield() } }
    isClosed.store(true, ordering: .relaxed)
    let counters = operation.counters
    operation.unregisterInterfaces()
    operation.makeExact(counters) {
      operation.afterReaders {
        operation.awaitZero(of: counters, orElse: nil) {
          if self.fault == .unlocksTwice { self.lock.releaseWrite() }
          operation.exit { isOut in
            if !isOut { return }
            operation.settle {
              munmap(page, 4096)
              if self.fault == .freesNodes {
                node.pointee.takeUnretainedValue().releaseWrite()
              } else {
                self.lock.releaseWrite()
              }
              operation.unmap()
            }
          }
        }
      }
    }
  }
}
