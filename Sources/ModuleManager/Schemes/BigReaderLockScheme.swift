internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Unregister everything, then take and drop the write side of the lock under which hooks are
  /// called. What netfilter did.
  public static let bigReaderLock = UnloadScheme(
    "big-reader-lock", "calls under a per-processor read lock; unregister, then take and drop its write side",
    source: "Rusty Russell, 22 September 2002 (ip_conntrack)",
    promises: [.noGracePeriod, .unloadsUnderTraffic, .noStarvation],
    busyErrno: EBUSY
  ) { place in BigReaderLockScheme(place.shared { BigReaderLock() }) }
}

/// Unregister, and pass the write side of a brlock.
///
/// Each call of a hook holds the read side of the manager's one lock: a line of the processor's
/// own, and two full fences.
///
/// 1. check: references or counters: `EBUSY`, and nothing was touched.
/// 2. unregister all hooks, and all names. "You can actually unregister all your hooks"
/// 3. "and then take the write brlock for a moment". A call that comes now finds the hook
///    unregistered, under its read lock.
/// 4. check again: callers may have counted themselves, or a packet. Registered again, and `EBUSY`;
///    or wait for the last, and registered again if the wait is given up. (The
///    ip_conntrack of the time spun in its cleanup, for as long as it took.)
/// 5. `exit`, and the manager frees.
///
/// Objection: only for calls that do not sleep; one that does stops every call of every module at 3
/// (here for a moment, since the writer goes on without keeping readers out: see
/// ``BigReaderLock``). And the window of 2 to 4.
final class BigReaderLockScheme: Scheme, Gate {
  private let lock: BigReaderLock
  private let isRegistered = Primitive.Flag(true)
  private let users = UserCount()

  init(_ lock: BigReaderLock) { self.lock = lock }

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }

  func enter() -> Int {
    let slot = lock.enterRead()
    if isRegistered.load(ordering: .sequentiallyConsistent) { return slot }
    lock.leaveRead(slot)
    return -1
  }

  func leave(_ token: Int) { lock.leaveRead(token) }

  func get() -> Bool {
    let slot = lock.enterRead()
    defer { lock.leaveRead(slot) }
    let isRegistered = isRegistered.load(ordering: .sequentiallyConsistent)
    if isRegistered { users.get() }
    return isRegistered
  }

  func put() { users.put() }
  var references: Int { users.value }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    let counters = operation.counters
    isRegistered.store(false, ordering: .sequentiallyConsistent)
    operation.unregisterInterfaces()
    operation.block(.readers) {
      lock.passWrite()
    } then: {
      operation.makeExact(counters) { [self] in recheck(operation, counters) }
    }
  }

  private func recheck(_ operation: UnloadOperation, _ counters: CounterSet) {
    if !operation.mayWait && (users.value > 0 || !counters.areUnused) {
      return operation.restoreAndRefuse(counters, register)
    }
    operation.tellUsers()
    let restoreService: @Sendable () -> Void = { [self] in operation.restoreService(counters, register) }
    operation.awaitZero(of: users, orElse: restoreService) {
      operation.awaitZero(of: counters, orElse: restoreService) { operation.leave() }
    }
  }

  private func register() { isRegistered.store(true, ordering: .sequentiallyConsistent) }
}
