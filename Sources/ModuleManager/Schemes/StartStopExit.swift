internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Stop, then an exit that may refuse and is tried again; no way back up. Roman Zippel's
  /// interface.
  public static let startStopExit = UnloadScheme(
    "start-stop-exit",
    "usecount, stop (unregister, wait for readers), exit; busy after that: asked for again",
    source: "Roman Zippel, in Rusty Russell's answer of 22 September 2002",
    promises: [.freeCalls, .unloadsUnderTraffic, .noStarvation], busyErrno: EBUSY
  ) { _ in StartStopExit() }
}

/// Initialize, start, stop, exit, usecount.
///
/// 1. references or `usecount`: `EBUSY`, and nothing was touched. `usecount` need not be exact.
/// 2. stop: every interface is unregistered, each of which answers at once and is nothing the
///    second time; a grace period, so that no call is under way; the module's `stop`.
/// 3. users are left (an object is open, a packet is counted): `EBUSY`. The module is in
///    ``ModuleState/cleanup`` now. It is not started again: the caller that wants it gone asks
///    again when the users have been sent away; or has asked to wait.
/// 4. `exit`. It may refuse: the same.
/// 5. the manager frees.
///
/// A wait at 3 that is given up puts the interfaces up again if the module has no `stop` of its
/// own. If it has one, that has ended what nothing can start again; and to wait before it would not
/// do: only `stop` keeps those users out that do not come through the manager. So then the request
/// is answered with ``UnloadOutcome/deferred(holders:)``, and so is one that found it in cleanup.
///
/// `init` may fail half way, and cleans nothing up: `exit` is called then too
/// (``ModuleState/cleanup`` if it refuses), for a module that says
/// QUIESCENT_EXIT_AFTER_FAILED_INIT. Others are of the old style, and are only taken down.
///
/// Objections (Rusty Russell): a module that failed to exit and is not started again can neither be
/// used nor replaced; a third function, "restart", is too much work for every author; and the
/// scheme has no "wake me when you can be unloaded". Here ``BusyPolicy/wait`` says that. An `exit`
/// written as `if ((error = unregister(a))) return error;` never gets to b when a is not registered
/// any more: here unregistering is the manager's, each by itself.
final class StartStopExit: Scheme {
  private let users = UserCount()
  /// The module's counters are its users' alone: no owner keeps them from zero. Only on the
  /// manager's thread.
  private let hasReleasedCounters = Primitive.Flag(false)

  func get() -> Bool {
    users.get()
    return true
  }

  func put() { users.put() }
  var references: Int { users.value }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    let counters = operation.counters
    counters.beginKill()
    operation.unregisterInterfaces()
    operation.afterReaders(orElse: {
      counters.confirm()
      operation.restoreService(counters)
    }) { [self] in
      counters.confirm()
      if operation.restoresService && (users.value > 0 || !counters.areUnused) {
        // Before the module's `stop`: what that has ended, nothing could start again.
        return operation.restoreAndRefuse(counters)
      }
      stop(operation, counters)
    }
  }

  func retry(_ operation: UnloadOperation) {
    // Whatever its first exit was kept from by, it is on its way down.
    operation.begin()
    exit(operation, orElse: nil)
  }

  private func stop(_ operation: UnloadOperation, _ counters: CounterSet) {
    if operation.module.code.hasStop {
      if operation.isAfterFailedInit { return exit(operation, orElse: nil) }
      // What the module's `stop` has ended, nothing can start again.
      return operation.call(.stop) {
        $0.callStop()
      } then: { [self] in
        exit(operation, orElse: nil)
      }
    }
    exit(operation) { operation.restoreService(counters) }
  }

  private func exit(_ operation: UnloadOperation, orElse restoreService: (@Sendable () -> Void)?) {
    let counters = operation.counters
    let isUsed = users.value > 0 || !counters.areUnused
    // The caller that loads a module is told at once that its init failed, and not when the users
    // of its first half have gone.
    if isUsed && (!operation.mayWait || operation.isAfterFailedInit) {
      let holders = operation.module.holders
      let reason = "in use: \(holders.joined); its interfaces are down, unload it again"
      return operation.remainInCleanup(errno: EBUSY, reason, holders: holders)
    }
    operation.tellUsers()
    operation.awaitZero(of: users, orElse: restoreService) { [self] in
      if hasReleasedCounters.exchange(true, ordering: .relaxed) { return operation.leave() }
      let back = restoreService.map { restoreService in
        { @Sendable [self] in
          // Their owners hold them again: else the next unload would not wait for them.
          hasReleasedCounters.store(false, ordering: .relaxed)
          restoreService()
        }
      }
      operation.awaitZero(of: counters, orElse: back) { [self] in
        // Again: gets never fail here, so a counter's holder may have brought a user in.
        operation.awaitZero(of: users, orElse: back) { operation.leave() }
      }
    }
  }
}
