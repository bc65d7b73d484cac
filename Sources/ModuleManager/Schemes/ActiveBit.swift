internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// An active bit and a count under one lock; an unload that fails early, or is forced. Daniel Phillips' scheme.
  public static let activeBit = UnloadScheme(
    "active-bit", "an active bit and a count under one lock: no users, no more users, then unregister",
    source: "Daniel Phillips, 18 July 2002", promises: [.noGracePeriod, .noWindow, .noStarvation],
    busyErrno: EBUSY
  ) { _ in ActiveBit() }
}

/// Active bit and user count under one lock.
///
/// To get in: lock; if the module is active, count; unlock; only who counted goes on. Each call of a hook does that.
///
/// 1. lock; if nobody is counted, clear the bit; unlock. Somebody is: `EBUSY`, and nothing was touched: "it fails early, before
///    unregistering or destroying any resources". As printed in the mail the test is the other way round, which leaves the old race
///    and zombies: modules that neither serve nor can be unloaded. `BrokenSchemes` shows that form.
/// 2. the module's own `cleanup(force)`, if it has one: what it answers is the answer, and the bit is set again.
/// 3. unregister all, `exit`, and the manager frees.
///
/// Force, and a policy to wait, clear the bit whoever is there: no new users; and 2 starts when the last has gone. "The module's
/// active bit prevents that" somebody else gets a reference before the unload. By force the present ones are told, and `cleanup` is
/// called before the wait. A wait that is given up sets the bit again: neither `cleanup` nor 3 has begun.
///
/// Objections: every user of the module writes to one lock. And every module has to be changed; for its author it is one line,
/// `quiescent_users_close` in `quiescent_module.h`.
final class ActiveBit: Scheme, Gate, UserWait {
  private let state = Primitive.Guarded(State())

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
      precondition(state.users >= 0, "a module was released that nobody had acquired")
      return state.users == 0 ? state.whenUnused.take() : nil
    }
    next?()
  }

  var references: Int { state.withLock { $0.users } }

  func unload(_ operation: UnloadOperation) {
    // At once, and not after the grace period of `Memb` that the counters may need.
    if operation.mayWait {
      operation.begin()
    } else if references > 0 {
      return operation.refuse(operation.module.holders, errno: EBUSY)
    }
    let counters = operation.counters
    counters.makeExact()
    let isClosed = close(evenIfInUse: operation.mayWait)
    // No call is under way that could count on them, unless the bit was cleared whoever is there.
    if !isClosed || (!operation.mayWait && !counters.areUnused) {
      let holders = operation.module.holders
      reopen(counters)
      return operation.refuse(holders, errno: EBUSY)
    }
    operation.begin()
    // Before the wait: by force it is for the module's own users to be told, too.
    if operation.isForced { _ = operation.module.code.callCleanup(force: true) }
    operation.tellUsers()
    let restoreService: @Sendable () -> Void = { [self] in
      reopen(counters)
      operation.stay()
    }
    operation.awaitZero(of: self, orElse: restoreService) {
      operation.awaitZero(of: counters, orElse: restoreService) { [self] in takeDown(operation, counters) }
    }
  }

  /// Steps 2 and 3. Nobody is counted.
  private func takeDown(_ operation: UnloadOperation, _ counters: CounterSet) {
    if let error = cleanup(operation) {
      reopen(counters)
      operation.stay()
      return operation.fail(error, "its cleanup found users")
    }
    operation.takeInterfacesDown()
    operation.leave()
  }

  /// Step 1. Test and change in one hold of the lock: a user that came in between would lose the module.
  private func close(evenIfInUse: Bool) -> Bool {
    state.withLock { state in
      if state.users == 0 || evenIfInUse { state.isActive = false }
      return !state.isActive
    }
  }

  private func reopen(_ counters: CounterSet) {
    counters.revive()
    state.withLock { $0.isActive = true }
  }

  /// Step 2. Nobody waits for the module's own users: they have to go first, or are forced.
  private func cleanup(_ operation: UnloadOperation) -> Int32? {
    if operation.isFinal { return nil }
    guard let result = operation.module.code.callCleanup(force: false), result != 0 else { return nil }
    return result < 0 ? -result : EINVAL
  }

  func whenZero(_ body: @escaping @Sendable () -> Void) {
    let isUnused = state.withLock { state in
      if state.users > 0 { state.whenUnused = body }
      return state.users == 0
    }
    if isUnused { body() }
  }

  /// Under the lock under which the last put takes it: else that could take it in between, and the module would go while it serves on.
  func giveUp() -> Bool { state.withLock { $0.whenUnused.take() } != nil }
}
