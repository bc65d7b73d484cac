internal import Glibc
internal import ModuleManager
internal import Quiescence

extension BrokenScheme {
  /// Check, unregister, free.
  static let naive = [
    synchronizing(
      "broken-naive", "check the users, then unregister and free", "R1, R2", [.noSync, .noRecheck])
  ]

  /// Check, unregister, sync, recheck, with one step left out each.
  static let synchronizing = [
    synchronizing(
      "broken-no-sync", "recheck, but wait for nobody in between", "R2", caughtBy: "aCallIsStillInside",
      [.noSync]),
    synchronizing(
      "broken-no-recheck", "sync, but no second look", "R3", caughtBy: "aUserIsNotSeen", [.noRecheck]),
    synchronizing("broken-no-callback-barrier", "unmap before what was retired has run", "R27", [.noBarrier]),
    synchronizing(
      "broken-no-last-grace-period", "unmap while the last put returns through the module's code", "R25",
      caughtBy: "theLastPutReturnsIntoNothing", [.noLastGracePeriod]),
    synchronizing("broken-failed-init", "free at once when init fails", "R21", [.freesFailedInit]),
    synchronizing(
      "broken-second-unload", "delayed removal that a second unload does not see", "R7",
      caughtBy: "aSecondUnloadExitsTwice",
      [.staysLive]),
    synchronizing(
      "broken-lost-wakeup", "a waiter that comes after the last put is not woken", "R30",
      caughtBy: "aWakeupIsLost",
      [.losesWakeup]),
    synchronizing(
      "broken-force", "forced: exit under the users", "R20", caughtBy: "aUserIsNotSeen", [.forceFrees]),
    synchronizing(
      "broken-short-circuit", "an exit that stops at the first interface that is gone already", "R22",
      caughtBy: "anInterfaceIsLeftBehind", [.stopsAtFirst]),
  ]

  private static func synchronizing(
    _ name: String, _ summary: String, _ scenarios: String, caughtBy: String = "theStormCatchesIt",
    _ faults: Synchronizing.Faults
  ) -> BrokenScheme {
    BrokenScheme(name, summary, scenarios, caughtBy: caughtBy) { Synchronizing(faults) }
  }
}

/// Check, unregister, sync, recheck, exit; and what it does wrong.
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

  func unload(_ departure: Departure) {
    let holders = departure.module.holders
    if !departure.mayWait && !holders.isEmpty { return departure.refuse(holders, errno: EBUSY) }
    // Where it matters, the interleaving is made likely; it is possible without.
    Hole.widen()
    if !faults.contains(.staysLive) { departure.begin() }
    if faults.contains(.stopsAtFirst) { return exitStoppingAtFirst(departure) }
    if departure.isAfterFailedInit && faults.contains(.freesFailedInit) {
      departure.takeInterfacesDown()
      return departure.unmap()
    }
    let counters = departure.counters
    departure.takeInterfacesDown()
    counters.makeExact()
    if !faults.contains(.noSync) { departure.waitForReaders() }
    if faults.contains(.noRecheck) || (departure.isForced && faults.contains(.forceFrees)) {
      counters.releaseOwners()
      return leave(departure)
    }
    if users.value == 0 { return counters.whenUnused(departure) { self.leave(departure) } }
    if !departure.mayWait { departure.defer(departure.module.holders) }
    departure.tellUsers()
    let next: @Sendable () -> Void = {
      departure.later { counters.whenUnused(departure) { self.leave(departure) } }
    }
    if faults.contains(.staysLive) { return waiters.withLock { $0.append(next) } }
    if !faults.contains(.losesWakeup) { return users.whenZero(next) }
    while users.value != 0 { Primitive.yield() }
    // Too late: the last put has looked for a waiter already.
    waiters.withLock { $0.append(next) }
  }

  private func leave(_ departure: Departure) {
    if !departure.exit() { return }
    if faults.contains(.noSync) && faults.contains(.noRecheck) { return departure.unmap() }
    if faults.contains(.noBarrier) {
      departure.waitForReaders()
      return departure.unmap()
    }
    if faults.contains(.noLastGracePeriod) || faults.contains(.noSync) {
      departure.runCallbacks()
      return departure.unmap()
    }
    departure.finish()
  }

  /// `if ((error = unregister_hooks())) return error; if ((error = unregister_objects())) return error;`
  private func exitStoppingAtFirst(_ departure: Departure) {
    if departure.module.hasNoHooks { return departure.remainInCleanup(errno: ENOENT, "it is not registered") }
    departure.unlinkHooks()
    if users.value > 0 { return departure.remainInCleanup(errno: EBUSY, "in use") }
    departure.withdrawObjects()
    departure.waitForReaders()
    departure.leave()
  }

  func retry(_ departure: Departure) {
    if faults.contains(.stopsAtFirst) { return exitStoppingAtFirst(departure) }
    departure.begin()
    departure.leave()
  }
}

/// Where threads meet that should not.
enum Hole {
  static func widen() {
    for _ in 0..<4 { Primitive.yield() }
  }
}
