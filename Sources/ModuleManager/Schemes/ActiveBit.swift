internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// An active bit and a count under one lock; an unload that fails early, or is forced. Daniel
  /// Phillips' scheme.
  public static let activeBit = UnloadScheme(
    "active-bit", "an active bit and a count under one lock: no users, no more users, then unregister",
    source: "Daniel Phillips, 18 July 2002", promises: [.noGracePeriod, .noWindow, .noStarvation],
    busyErrno: EBUSY
  ) { _ in ActiveBit() }
}

/// Active bit and user count under one lock.
///
/// To get in: lock; if the module is active, count; unlock; only a call that counted goes on. Each
/// call of a hook does that.
///
/// 1. lock; if no user is counted, clear the bit; unlock. Otherwise: `EBUSY`, and nothing was
///    touched: "it fails early, before unregistering or destroying any resources". As printed in
///    the mail the test is the other way round, which leaves the old race and zombies: modules that
///    neither serve nor can be unloaded. `BrokenSchemes` shows that form.
/// 2. the module's own `cleanup(force)`, if it has one: what it answers is the answer, and the bit
///    is set again.
/// 3. unregister all, `exit`, and the manager frees.
///
/// Force, and a policy to wait, clear the bit under users: no new ones; and 2 starts when the
/// last has gone. "The module's active bit prevents that" another user gets a reference before the
/// unload. By force the present ones are told, and `cleanup` is called before the wait. A wait that
/// is given up sets the bit again: neither `cleanup` nor 3 has begun.
///
/// Objections: every user of the module writes to one lock. And every module has to be changed; for
/// its author it is one line, `quiescent_users_close` in `quiescent_module.h`.
final class ActiveBit: Scheme, Gate, UserWait {
  private let state = Primitive.Guarded(State())
  /// The module's `cleanup` has refused, and nothing leads back. On the manager's queue alone.
  private let wasRefused = Primitive.Flag(false)

  private struct State {
    var isActive = true
    var users = 0
    var whenUnused: (@Sendable () -> Void)?
  }

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }
  func enter() -> Int { get() ? 0 : -1 }
  func leave(_ token: Int) { put() }

  func get() -> Bool {
    state.withLock { state in
      if state.isActive { state.users += 1 }
      return state.isActive
    }
  }

  func put() {
    let next = state.withLock { state -> (@Sendable () -> Void)? in
      state.users -= 1
      precondition(state.users >= 0, "a module was released that was not acquired")
      return state.users == 0 ? state.whenUnused.take() : nil
    }
    next?()
  }

  var references: Int { state.withLock { $0.users } }

  func unload(_ operation: UnloadOperation) {
    if operation.mayWait { operation.begin() }
    let counters = operation.counters
    operation.makeExact(counters) { [self] in close(operation, counters) }
  }

  func retry(_ operation: UnloadOperation) {
    operation.begin()
    if wasRefused.load(ordering: .relaxed) {
      cleanUp(operation, operation.counters)
    } else {
      operation.leave()
    }
  }

  private func close(_ operation: UnloadOperation, _ counters: CounterSet) {
    let isClosed = close(evenIfInUse: operation.mayWait)
    // No call is under way that could count on them, unless the bit was cleared under users.
    if !isClosed || (!operation.mayWait && !counters.areUnused) {
      return operation.restoreAndRefuse(counters, reopen)
    }
    operation.begin()
    // Before the wait: by force it is for the module's own users to be told, too.
    if operation.isForced {
      return operation.call(.cleanup) {
        $0.callCleanup(force: true)
      } then: { [self] _ in
        drain(operation, counters)
      }
    }
    drain(operation, counters)
  }

  private func drain(_ operation: UnloadOperation, _ counters: CounterSet) {
    operation.tellUsers()
    let restoreService: @Sendable () -> Void = { [self] in operation.restoreService(counters, reopen) }
    operation.awaitZero(of: self, orElse: restoreService) {
      operation.awaitZero(of: counters, orElse: restoreService) { [self] in cleanUp(operation, counters) }
    }
  }

  /// Step 2. The module's own users are not waited for: they have to go first, or are forced.
  private func cleanUp(_ operation: UnloadOperation, _ counters: CounterSet) {
    if operation.isForced || operation.isAfterFailedInit { return takeDown(operation) }
    operation.call(.cleanup) {
      $0.callCleanup(force: false) ?? 0
    } then: { [self] result in
      wasRefused.store(result != 0, ordering: .relaxed)
      if result == 0 { return takeDown(operation) }
      if operation.isNameless {
        return operation.remainInCleanup(
          errno: result < 0 ? -result : EINVAL, "its cleanup found users; its interfaces are down")
      }
      operation.restoreService(counters, reopen)
      operation.fail(result < 0 ? -result : EINVAL, "its cleanup found users")
    }
  }

  /// Step 3. No user is counted.
  private func takeDown(_ operation: UnloadOperation) {
    operation.unregisterInterfaces()
    operation.leave()
  }

  /// Step 1. Test and change in one hold of the lock: a user that came in between would lose the
  /// module.
  private func close(evenIfInUse: Bool) -> Bool {
    state.withLock { state in
      if state.users == 0 || evenIfInUse { state.isActive = false }
      return !state.isActive
    }
  }

  private func reopen() { state.withLock { $0.isActive = true } }

  func whenZero(_ body: @escaping @Sendable () -> Void) {
    let isUnused = state.withLock { state in
      if state.users > 0 { state.whenUnused = body }
      return state.users == 0
    }
    if isUnused { body() }
  }

  /// Under the lock under which the last put takes it: else that could take it in between, and the
  /// module would go while it serves on.
  func giveUp() -> Bool { state.withLock { $0.whenUnused.take() } != nil }
}
