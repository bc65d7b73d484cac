internal import Bigref
internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Every table that leads to the module has a lock, and the unload holds them all. Adam Richter's patch, repaired.
  public static let lockList = UnloadScheme(
    "lock-list", "the unload holds the locks of every table that leads to the module, sorted by address",
    source: "Adam J. Richter, 23 December 2002", promises: [.noGracePeriod, .noWindow, .noFailedGets],
    busyErrno: EBUSY
  ) { place in LockList(place.shared { LockTables() }) }
}

/// The lock list: gets never fail, they wait.
///
/// Each table in which a module can be looked up (a hook point, the names of objects) has a read-write semaphore. To get in, and to get
/// out: take its read side, count, release. Each call of a hook does both.
///
/// 1. take the write side of every lock that was registered for the module: sorted by address, each distinct one once. Interrupted
///    (`EINTR`): those that were taken are released. No lookup in these tables is under way now.
/// 2. users: release everything, `EBUSY`. To wait: sleep until the last user lets go, and start again at 1. Sleeping with the locks
///    held would keep that user from letting go. So a new user may come first, and there is no promise of progress.
/// 3. unregister, `exit`, under the locks. A lookup that starts now waits, and finds nothing afterwards. So `exit` must not wait
///    for readers.
/// 4. release the locks. The nodes of the list are the manager's, so they can be walked; and each is unlocked here alone.
/// 5. the callback barrier, and the manager frees.
///
/// A wait that is given up leaves everything as it was: no user was refused. Only where nothing but the module's counters was left,
/// 3 has closed it and taken its interfaces down, and they come back.
///
/// By force, and after a failed `init`, 2 closes the module before it releases the locks: gets fail from then on.
///
/// Objections (Rusty Russell): a semaphore on every packet; and "if someone is recursing, you must fail them, otherwise you'll
/// deadlock; and then it becomes try_module_get()". Here a thread that asks for a lock that it has is refused (`EDEADLK`), and a user
/// who counts again waits at most until 2 lets go.
final class LockList: Scheme {
  private let tables: LockTables
  private let order = LockOrder()
  private let entrance: Entrance

  init(_ tables: LockTables) {
    self.tables = tables
    entrance = Entrance(tables.objects, Occupants())
    order.register(tables.objects)
  }

  func gate(for point: any AnyHookPoint) -> (any Gate)? {
    let lock = tables.lock(of: point)
    order.register(lock)
    return Entrance(lock, entrance.occupants)
  }

  func get() -> Bool { entrance.enter() == 0 }
  func put() { entrance.leave(0) }
  var references: Int { entrance.occupants.users.value }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    let counters = operation.counters
    // Not under the locks: without restartable sequences this waits for readers, and they may be waiting for a lock.
    counters.makeExact()
    attempt(operation, counters)
  }

  /// Steps 1 to 4.
  private func attempt(_ operation: UnloadOperation, _ counters: CounterSet) {
    let locks: LockOrder.Held
    let occupants = entrance.occupants
    // Once it is closed nothing leads back.
    let isClosed = occupants.isClosed.load(ordering: .relaxed)
    switch order.acquire(cancelledBy: isClosed ? nil : operation.cancellation) {
    case .success(let held): locks = held
    case .failure(let error):
      if operation.mayWait && !operation.isFinal && error.errno == EINTR {
        // What ended the wait for a lock ends the one for users as well, and knows why.
        return operation.offerWayBack { [self] in
          restoreService(operation, counters)
          return true
        }
      }
      restoreService(operation, counters)
      return operation.fail(error.errno, "the locks of its tables could not be had")
    }
    if operation.isFinal { occupants.isClosed.store(true, ordering: .relaxed) }
    if occupants.users.value > 0 || (!operation.mayWait && !counters.areUnused) {
      let holders = operation.module.holders
      locks.release()
      if operation.mayWait {
        operation.tellUsers()
        return operation.awaitZero(
          of: occupants.users, orElse: { [self] in restoreService(operation, counters) }
        ) { [self] in attempt(operation, counters) }
      }
      restoreService(operation, counters)
      return operation.refuse(holders, errno: EBUSY)
    }
    occupants.isClosed.store(true, ordering: .relaxed)
    operation.takeInterfacesDown()
    if !counters.areUnused {
      // Whoever holds these does not come through a table; and may need one to let go.
      locks.release()
      operation.tellUsers()
      return operation.awaitZero(of: counters, orElse: { [self] in reopen(operation, counters) }) {
        operation.leave()
      }
    }
    counters.whenUnused(operation) {}
    let isOut = operation.exit()
    locks.release()
    if isOut { operation.finish() }
  }

  private func reopen(_ operation: UnloadOperation, _ counters: CounterSet) {
    // Without the locks, and before the interfaces: who finds the module finds it behind this. Who found it before step 3 is
    // refused or gets in; the next unload looks under the locks.
    entrance.occupants.isClosed.store(false, ordering: .relaxed)
    _ = operation.putInterfacesUp()
    restoreService(operation, counters)
  }

  private func restoreService(_ operation: UnloadOperation, _ counters: CounterSet) {
    counters.revive()
    operation.stay()
  }
}

/// The locks of a manager's tables.
final class LockTables: Sendable {
  let objects = ReadWriteSemaphore()
  private let points = Primitive.Guarded<[ObjectIdentifier: ReadWriteSemaphore]>([:])

  func lock(of point: any AnyHookPoint) -> ReadWriteSemaphore {
    points.withLock { points in
      if let lock = points[ObjectIdentifier(point)] { return lock }
      let lock = ReadWriteSemaphore()
      points[ObjectIdentifier(point)] = lock
      return lock
    }
  }
}

/// Who is in a module, whatever table they came through.
private final class Occupants: Sendable {
  let users = UserCount()
  /// Changed under the write side of all tables' locks.
  let isClosed = Primitive.Flag(false)
}

/// The way into a module through one table.
private final class Entrance: Gate {
  let occupants: Occupants
  private let lock: ReadWriteSemaphore

  init(_ lock: ReadWriteSemaphore, _ occupants: Occupants) {
    self.lock = lock
    self.occupants = occupants
  }

  func enter() -> Int {
    if lock.acquireRead() != 0 { return -1 }
    defer { lock.releaseRead() }
    if occupants.isClosed.load(ordering: .relaxed) { return -1 }
    occupants.users.get()
    return 0
  }

  func leave(_ token: Int) {
    // Refused only to a thread that has the lock: then no unload has it.
    let isMine = lock.acquireRead() == 0
    occupants.users.put()
    if isMine { lock.releaseRead() }
  }
}
