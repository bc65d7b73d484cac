internal import Bigref
internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Every table that leads to the module has a lock, and the unload holds them all. Adam Richter's
  /// patch, repaired.
  public static let lockList = UnloadScheme(
    "lock-list", "the unload holds the locks of every table that leads to the module, sorted by address",
    source: "Adam J. Richter, 23 December 2002", promises: [.noGracePeriod, .noWindow, .noFailedGets],
    busyErrno: EBUSY
  ) { place in LockList(place.shared { LockTables() }) }
}

/// The lock list: gets never fail, they wait.
///
/// Each table in which a module can be looked up (a hook point, the names of objects) has a
/// read-write semaphore. To get in, and to get out: take its read side, count, release. Each call
/// of a hook does both.
///
/// 1. take the write side of every lock that was registered for the module: sorted by address, each
///    distinct one once. Interrupted (`EINTR`): those that were taken are released. No lookup in
///    these tables is under way now.
/// 2. users: release everything, `EBUSY`. To wait: sleep until the last user releases it, and start
///    again at 1. Sleeping with the locks held would keep that user from letting go. So a new user
///    may come first, and there is no promise of progress.
/// 3. no users: close the module, still under the locks, and release them. The nodes of the list
///    are the manager's, so they can be walked; and each is unlocked here alone. A lookup that
///    waited finds the module closed.
/// 4. unregister, `exit`. In the patch both were under the locks. But unregistering retires a
///    table, which waits for readers when the reclaimer is full, and those may be waiting for a
///    lock; and an `exit` that hangs would hang every lookup.
/// 5. the callback barrier, and the manager frees.
///
/// A wait that is given up leaves everything as it was: no user was refused. Only where nothing but
/// the module's counters was left, 3 has closed it and 4 has taken its interfaces down, and they
/// come back.
///
/// By force, and after a failed `init`, 2 closes the module before it releases the locks: gets fail
/// from then on.
///
/// Objections (Rusty Russell): a semaphore on every packet; and "if someone is recursing, you must
/// fail them, otherwise you'll deadlock; and then it becomes try_module_get()". Here a thread that
/// asks for a lock that it has is refused (`EDEADLK`), and a user that counts again waits at most
/// until 2 releases it.
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
    // Not under the locks: without restartable sequences this waits for readers, and they may be
    // waiting for a lock.
    operation.makeExact(counters) { [self] in attempt(operation, counters) }
  }

  /// What was found under the locks.
  private enum Found: Sendable {
    case users([ModuleHolder])
    /// No users but the holders of its counters; it is closed.
    case counted
    /// No users; it is closed.
    case unused
  }

  /// Steps 1 and 2, and what comes of them.
  private func attempt(_ operation: UnloadOperation, _ counters: CounterSet) {
    // Once it is closed nothing leads back.
    let isClosed = entrance.occupants.isClosed.load(ordering: .relaxed)
    let mayEnd = !isClosed && !operation.isFinal && !operation.cancellation.isCancelled
    let cancellation = mayEnd ? operation.cancellation : nil
    if let cancellation {
      operation.offerWayBack {
        cancellation.cancel()
        return false
      }
    }
    operation.block(.locks) {
      order.withAll(cancelledBy: cancellation) { look(operation, counters) }
    } then: { [self] result in
      switch result {
      case .success(.users(let holders)): wait(operation, counters, holders)
      case .success(.counted):
        operation.unregisterInterfaces()
        // Their holders do not come through a table; and may need one to release it.
        operation.tellUsers()
        operation.awaitZero(of: counters, orElse: { [self] in reopen(operation, counters) }) {
          operation.leave()
        }
      case .success(.unused):
        operation.unregisterInterfaces()
        operation.awaitZero(of: counters, orElse: nil) { operation.leave() }
      case .failure(let error): interrupted(operation, counters, error)
      }
    }
  }

  /// Step 2, under the locks. Nothing here waits: readers wait for them.
  private func look(_ operation: UnloadOperation, _ counters: CounterSet) -> Found {
    let occupants = entrance.occupants
    if operation.isFinal { occupants.isClosed.store(true, ordering: .relaxed) }
    if occupants.users.value > 0 || (!operation.mayWait && !counters.areUnused) {
      return .users(operation.module.holders)
    }
    occupants.isClosed.store(true, ordering: .relaxed)
    return counters.areUnused ? .unused : .counted
  }

  private func wait(_ operation: UnloadOperation, _ counters: CounterSet, _ holders: [ModuleHolder]) {
    if !operation.mayWait {
      operation.restoreService(counters)
      return operation.refuse(holders)
    }
    operation.tellUsers()
    let users = entrance.occupants.users
    // It is closed under the locks first: until then new users come.
    operation.onForce { [self] in if users.giveUp() { attempt(operation, counters) } }
    operation.awaitZero(of: users, orElse: { operation.restoreService(counters) }) { [self] in
      attempt(operation, counters)
    }
  }

  private func interrupted(_ operation: UnloadOperation, _ counters: CounterSet, _ error: LockError) {
    // It was forced meanwhile, or another request has joined it.
    if operation.isFinal || (error.errno == EINTR && !operation.isGivenUp) {
      return attempt(operation, counters)
    }
    if error.errno == EINTR {
      // What ended the wait for a lock ends the one for users as well, and knows why.
      return operation.offerWayBack {
        operation.restoreService(counters)
        return true
      }
    }
    operation.restoreService(counters)
    operation.fail(error.errno, "the locks of its tables could not be had")
  }

  private func reopen(_ operation: UnloadOperation, _ counters: CounterSet) {
    // Without the locks, and before the interfaces: a user that finds the module finds it behind
    // this. One that found it before step 3 is refused or gets in; the next unload looks under the
    // locks.
    operation.restoreService(counters) { entrance.occupants.isClosed.store(false, ordering: .relaxed) }
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

/// The users of a module, whatever table they came through.
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
