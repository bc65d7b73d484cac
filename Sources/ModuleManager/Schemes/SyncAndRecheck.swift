internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Unregister, wait for a sync point, recheck; users that are found then delay the removal. Rusty
  /// Russell's end of it.
  public static let delayedRemoval = UnloadScheme(
    "delayed-removal", "check, unregister, grace period, recheck; in use then: gone when the last user is",
    source: "Keith Owens, 9 July 2002, for Rusty Russell",
    promises: [.freeCalls, .unloadsUnderTraffic, .noStarvation], busyErrno: EBUSY
  ) { _ in SyncAndRecheck(ifUsed: .delay) }

  /// Unregister, wait for a sync point, recheck; users that are found then make the module register
  /// again. Keith Owens' end.
  public static let reregister = UnloadScheme(
    "reregister", "check, unregister, grace period, recheck; in use then: registered again",
    source: "Keith Owens, 9 July 2002", promises: [.freeCalls, .unloadsUnderTraffic], busyErrno: EBUSY
  ) { _ in SyncAndRecheck(ifUsed: .reregister) }
}

/// Check, unregister, sync, recheck: with a plain count, which every call inside a section may
/// raise.
///
/// 1. check the use count: `EBUSY`, and nothing was touched.
/// 2. unregister: hooks off, names away.
/// 3. a grace period: "all code that had a reference has either dropped it or bumped the use
///    count". The sync point of the mail is a processor's; the contract is the same: it is illegal
///    to sleep while using module code without a count.
/// 4. check again. Zero: no stale reference is left. `exit`, and free.
/// 5. not zero, **delayed removal** (Rusty Russell prefers it): the request is answered with
///    ``UnloadOutcome/deferred(holders:)``, or waits if that is the policy. No user can come in any
///    more except by a holder's leave; the last one out starts `exit`. A second request meanwhile
///    is `EBUSY`. That answer is final; a wait that is given up goes on with 6.
/// 6. not zero, **reregister** (Keith Owens prefers it): hooks on, names back, `EBUSY`. It may
///    fail: another module has taken a name in the window. Then it is `EEXIST`; the module could
///    not serve as before, so it goes as in 5.
///
/// The manager frees. Objections: nothing but the contract keeps a user from holding a reference
/// past the sync point (Roman Zippel). Between 2 and 6 a lookup of the module's names fails,
/// although the module goes on serving afterwards. With delayed removal, the unload may take as
/// long as the users like.
final class SyncAndRecheck: Scheme {
  enum IfUsed { case delay, reregister }

  private let ifUsed: IfUsed
  private let users = UserCount()

  init(ifUsed: IfUsed) { self.ifUsed = ifUsed }

  func get() -> Bool {
    users.get()
    return true
  }

  func put() { users.put() }
  var references: Int { users.value }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    takeDown(operation) { [self] counters in
      if users.value == 0 && counters.areUnused {
        operation.awaitZero(of: counters, orElse: nil) { operation.leave() }
      } else if operation.restoresService || (ifUsed == .reregister && !operation.mayWait) {
        let holders = operation.module.holders
        if registerAgain(operation, counters, holders) { operation.refuse(holders) }
      } else {
        delay(operation, counters)
      }
    }
  }

  /// Steps 2 and 3.
  private func takeDown(
    _ operation: UnloadOperation, mayGoBack: Bool = true,
    then next: @escaping @Sendable (CounterSet) -> Void
  ) {
    let counters = operation.counters
    counters.beginKill()
    operation.unregisterInterfaces()
    let goBack: @Sendable () -> Void = { [self] in
      counters.confirm()
      _ = registerAgain(operation, counters, operation.module.holders)
    }
    operation.afterReaders(orElse: mayGoBack ? goBack : nil) {
      counters.confirm()
      next(counters)
    }
  }

  /// Step 5.
  private func delay(_ operation: UnloadOperation, _ counters: CounterSet) {
    if !operation.mayWait { operation.defer(operation.module.holders) }
    operation.tellUsers()
    let restoreService: @Sendable () -> Void = { [self] in
      _ = registerAgain(operation, counters, operation.module.holders)
    }
    operation.awaitZero(of: users, orElse: restoreService) { [self] in
      operation.awaitZero(of: counters, orElse: restoreService) { [self] in
        // Again: gets never fail here, so a counter's holder may have brought a user in. Now zero
        // is final: no holder is left that could.
        operation.awaitZero(of: users, orElse: restoreService) { operation.leave() }
      }
    }
  }

  /// Step 6. False when it cannot serve as before: then the request is answered, and it goes as in
  /// step 5.
  private func registerAgain(
    _ operation: UnloadOperation, _ counters: CounterSet, _ holders: [ModuleHolder]
  ) -> Bool {
    let taken = operation.restoreService(counters, isLive: \.isEmpty)
    if taken.isEmpty { return true }
    let names = taken.joined(separator: ", ")
    operation.failAndGoOn(
      EEXIST, "in use, and \(names) was taken meanwhile: it is unloaded when its last user releases it",
      holders: holders)
    takeDown(operation, mayGoBack: false) { [self] in delay(operation, $0) }
    return false
  }
}
