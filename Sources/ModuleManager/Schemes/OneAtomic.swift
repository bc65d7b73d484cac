internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// One atomic that starts with the owner's reference. Today's kernel.
  public static let oneAtomic = UnloadScheme(
    "one-atomic", "try_module_get on one atomic with a base reference; in use: would block",
    source: "Linux kernel/module/main.c, since 3.19", promises: [.noGracePeriod, .noWindow, .noStarvation],
    busyErrno: EWOULDBLOCK
  ) { _ in OneAtomic() }
}

/// One atomic with a base reference, and a state.
///
/// To get in: the module is live, and the count is raised unless it is zero. Each call of a hook
/// does that.
///
/// 1. take the base away. Not zero: put it back, unless the count has become zero in between; then
///    `EWOULDBLOCK`, and nothing was touched. Zero: it cannot be raised any more.
/// 2. the module is going: gets fail without a look at the count.
/// 3. counters that the module made itself: `EWOULDBLOCK` as well, and the base is put back.
/// 4. unregister, `exit`, and the manager frees.
///
/// To wait (the kernel did until 3.13), or by force: 2, then the base is given up, and the last put
/// starts 4. The kernel's force calls `exit` under the users and taints; this one waits and taints.
/// A wait that is given up takes the base back unless the count is zero, and the module is live
/// again; hooks and names were never away, but where only counters were left to wait for.
///
/// Objections: each get and put writes to one cache line that all processors share; and a get fails
/// although the module could be loaded again.
final class OneAtomic: Scheme, Gate {
  private let count = BaseCount()
  private let isLive = Primitive.Flag(true)

  func gate(for point: any AnyHookPoint) -> (any Gate)? { self }
  func enter() -> Int { get() ? 0 : -1 }
  func leave(_ token: Int) { put() }

  func get() -> Bool { isLive.load(ordering: .acquiring) && count.get() }
  func put() { count.put() }
  var references: Int { count.users }

  func unload(_ operation: UnloadOperation) {
    if operation.mayWait { operation.begin() }
    let counters = operation.counters
    operation.makeExact(counters) { [self] in
      if operation.mayWait { drain(operation, counters) } else { close(operation, counters) }
    }
  }

  /// Steps 1 to 3.
  private func close(_ operation: UnloadOperation, _ counters: CounterSet) {
    let holders = operation.module.holders
    if !counters.areUnused || !count.releaseBaseIfUnused() {
      counters.revive()
      return operation.refuse(holders)
    }
    isLive.store(false, ordering: .sequentiallyConsistent)
    operation.begin()
    // A call that ended before the base was taken may have counted on them.
    if !counters.areUnused {
      return operation.restoreAndRefuse(counters) {
        count.restoreBase()
        open()
      }
    }
    takeDown(operation, counters)
  }

  private func drain(_ operation: UnloadOperation, _ counters: CounterSet) {
    isLive.store(false, ordering: .sequentiallyConsistent)
    operation.begin()
    operation.tellUsers()
    operation.awaitZero(of: count, orElse: { [self] in operation.restoreService(counters, open) }) { [self] in
      takeDown(operation, counters)
    }
  }

  private func takeDown(_ operation: UnloadOperation, _ counters: CounterSet) {
    operation.unregisterInterfaces()
    let back: @Sendable () -> Void = { [self] in
      operation.restoreService(counters) {
        count.restoreBase()
        open()
      }
    }
    operation.awaitZero(of: counters, orElse: back) { operation.leave() }
  }

  /// The base is back: a user that gets in from here on is counted above it.
  private func open() { isLive.store(true, ordering: .releasing) }
}
