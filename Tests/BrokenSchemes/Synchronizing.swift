internal import Glibc
internal import ModuleManager
internal import Quiescence

extension BrokenScheme {
  /// Check, unregister, free.
  static let naive = [
    synchronizing(
      "broken-naive", "check the users, then unregister and free",
      "a user enters after the check; the code is freed under the call", [.noSync, .noRecheck])
  ]

  /// Check, unregister, sync, recheck: each with one step left out.
  static let synchronizing = [
    synchronizing(
      "broken-no-sync", "recheck, but wait for no reader in between",
      "a call that read the hook before it was unregistered runs freed code",
      caughtBy: "missingSyncFreesCodeUnderACall", [.noSync]),
    synchronizing(
      "broken-no-recheck", "sync, but no second check",
      "a user counts itself inside its section, and the second check is missing",
      caughtBy: "missingRecheckFreesCodeUnderAUser", [.noRecheck]),
    synchronizing(
      "broken-no-callback-barrier", "unmap before what was retired has run",
      "a retired callback runs after its code was unmapped", [.noBarrier]),
    synchronizing(
      "broken-no-last-grace-period", "unmap while the last put returns through the module's code",
      "the last release returns through code that was unmapped",
      caughtBy: "lastPutReturnsToUnmappedCode", [.noLastGracePeriod]),
    synchronizing(
      "broken-failed-init", "free at once when init fails",
      "a user found the hook that a failed init had registered", [.freesFailedInit]),
    synchronizing(
      "broken-second-unload", "delayed removal that a second unload does not see",
      "a second unload during a delayed removal runs exit again",
      caughtBy: "unseenSecondUnloadRunsExitTwice", [.staysLive]),
    synchronizing(
      "broken-lost-wakeup", "a waiter that comes after the last put is not woken",
      "the last release comes before the waiter is on the list; the wait never ends",
      caughtBy: "lateWaiterIsNotWoken", [.losesWakeup]),
    synchronizing(
      "broken-force", "forced: exit while users hold the module",
      "exit runs while users hold the module", caughtBy: "missingRecheckFreesCodeUnderAUser", [.forceFrees]),
    synchronizing(
      "broken-short-circuit", "an exit that stops at the first interface that is gone already",
      "exit never unregisters the interface behind one that is gone already",
      caughtBy: "shortCircuitLeavesAnInterfaceRegistered", [.stopsAtFirst]),
  ]

  private static func synchronizing(
    _ name: String, _ summary: String, _ whatGoesWrong: String,
    caughtBy: String = "stormCatchesBrokenSchemes",
    _ faults: Synchronizing.Faults
  ) -> BrokenScheme {
    BrokenScheme(name, summary, whatGoesWrong, caughtBy: caughtBy) { Synchronizing(faults) }
  }
}

/// Check, unregister, sync, recheck, exit, with the given faults.
final class Synchronizing: Scheme {
  struct Faults: OptionSet {
    let rawValue: Int
    static let noSync = Faults(rawValue: 1)
    static let noRecheck = Faults(rawValue: 2)
    static let noBarrier = Faults(rawValue: 4)
    static let noLastGracePeriod = Faults(rawValue: 8)
    static let freesFailedInit = Faults(rawValue: 16)
    static let staysLive = Faults(rawValue: 32)
    static let losesWakeup = Faults(rawValue: 64)
    static let forceFrees = Faults(rawValue: 128)
    static let stopsAtFirst = Faults(rawValue: 256)
  }

  private let faults: Faults
  private let users = UserCount()
  private let waiters = Primitive.Guarded<[@Sendable () -> Void]>([])

  init(_ faults: Faults) { self.faults = faults }

  func get() -> Bool {
    users.get()
    return true
  }

  func put() {
    users.put()
    if users.value > 0 { return }
    let waiters = waiters.withLock { waiters in
      defer { waiters = [] }
      return waiters
    }
    for waiter in waiters { waiter() }
  }

  var references: Int { users.value }

  func unload(_ operation: UnloadOperation) {
    // Where it matters, the interleaving is made likely; it is possible without.
    Hole.widen()
    // The module looks as if no unload of it were under way.
    if faults.contains(.staysLive) { operation.module.endAttempt(operation) } else { operation.begin() }
    if faults.contains(.stopsAtFirst) { return exitStoppingAtFirst(operation) }
    if operation.isAfterFailedInit && faults.contains(.freesFailedInit) {
      operation.unregisterInterfaces()
      return operation.unmap()
    }
    let counters = operation.counters
    operation.unregisterInterfaces()
    operation.makeExact(counters) {
      if self.faults.contains(.noSync) { return self.recheck(operation, counters) }
      operation.afterReaders { self.recheck(operation, counters) }
    }
  }

  private func recheck(_ operation: UnloadOperation, _ counters: CounterSet) {
    if faults.contains(.noRecheck) || (operation.isForced && faults.contains(.forceFrees)) {
      counters.releaseOwners()
      return leave(operation)
    }
    let next: @Sendable () -> Void = {
      operation.later { operation.awaitZero(of: counters, orElse: nil) { self.leave(operation) } }
    }
    if users.value == 0 { return next() }
    if !operation.mayWait { operation.defer(operation.module.holders) }
    operation.tellUsers()
    if faults.contains(.staysLive) { return waiters.withLock { $0.append(next) } }
    if !faults.contains(.losesWakeup) { return users.whenZero(next) }
    while users.value != 0 { Primitive.yield() }
    // Too late: the last put has looked for a waiter already.
    waiters.withLock { $0.append(next) }
  }

  private func leave(_ operation: UnloadOperation) {
    operation.exit { [self] isOut in
      if !isOut { return }
      if faults.contains(.noSync) && faults.contains(.noRecheck) { return operation.unmap() }
      if faults.contains(.noBarrier) { return operation.afterReaders { operation.unmap() } }
      if faults.contains(.noLastGracePeriod) || faults.contains(.noSync) {
        return operation.afterCallbacks { operation.unmap() }
      }
      operation.finish()
    }
  }

  /// `if ((error = unregister_hooks())) return error;`
  /// `if ((error = unregister_objects())) return error;`
  private func exitStoppingAtFirst(_ operation: UnloadOperation) {
    if operation.module.hasNoHooks { return operation.remainInCleanup(errno: ENOENT, "it is not registered") }
    operation.unlinkHooks()
    if users.value > 0 { return operation.remainInCleanup(errno: EBUSY, "in use") }
    operation.withdrawObjects()
    operation.afterReaders { operation.leave() }
  }

  func retry(_ operation: UnloadOperation) {
    if faults.contains(.stopsAtFirst) { return exitStoppingAtFirst(operation) }
    operation.begin()
    operation.leave()
  }
}

/// Widens the window in which the interleaving breaks the scheme.
enum Hole {
  static func widen() {
    for _ in 0..<4 { Primitive.yield() }
  }
}
