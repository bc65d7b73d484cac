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
///    and zombies (R16); that is `BrokenSchemes`' business.
/// 2. the module's own `cleanup(force)`, if it has one: what it answers is the answer, and the bit is set again.
/// 3. unregister all, `exit`, and the manager frees.
///
/// Force, and a policy to wait, clear the bit whoever is there: no new users; the present ones are told, and 3 starts when the
/// last has gone. "The module's active bit prevents that" somebody else gets a reference before the unload.
///
/// Objections: every user of the module writes to one lock. And every module has to be changed; for its author it is one line,
/// `quiescent_users_close` in `quiescent_module.h`.
final class ActiveBit: Scheme, Gate {
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

  func unload(_ departure: Departure) {
    // At once, and not after the grace period of `Memb` that the counters may need.
    if departure.mayWait {
      departure.begin()
    } else if references > 0 {
      return departure.refuse(departure.module.holders, errno: EBUSY)
    }
    let counters = departure.counters
    counters.makeExact()
    let isClosed = close(whoeverIsThere: departure.mayWait)
    // No call is under way that could count on them, unless the bit was cleared whoever is there.
    if !isClosed || (!departure.mayWait && !counters.areUnused) {
      let holders = departure.module.holders
      reopen(counters)
      return departure.refuse(holders, errno: EBUSY)
    }
    departure.begin()
    if let error = cleanup(departure) {
      reopen(counters)
      departure.stay()
      return departure.fail(error, "its cleanup found users")
    }
    departure.tellUsers()
    whenUnused {
      departure.later {
        counters.whenUnused(departure) {
          departure.takeInterfacesDown()
          departure.leave()
        }
      }
    }
  }

  /// Step 1. Test and change in one hold of the lock: a user that came in between would lose the module.
  private func close(whoeverIsThere: Bool) -> Bool {
    state.withLock { state in
      if state.users == 0 || whoeverIsThere { state.isActive = false }
      return !state.isActive
    }
  }

  private func reopen(_ counters: CounterSet) {
    counters.revive()
    state.withLock { $0.isActive = true }
  }

  /// Step 2. Whoever waits has to let the module's own users go first, or force them.
  private func cleanup(_ departure: Departure) -> Int32? {
    if departure.isAfterFailedInit { return nil }
    guard let result = departure.module.code.callCleanup(force: departure.isForced), result != 0 else {
      return nil
    }
    if departure.isForced { return nil }
    return result < 0 ? -result : EINVAL
  }

  private func whenUnused(_ next: @escaping @Sendable () -> Void) {
    let isUnused = state.withLock { state in
      if state.users > 0 { state.whenUnused = next }
      return state.users == 0
    }
    if isUnused { next() }
  }
}
