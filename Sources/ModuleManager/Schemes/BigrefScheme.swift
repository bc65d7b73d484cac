internal import Bigref
internal import Glibc
internal import Quiescence

extension UnloadScheme {
  /// Check, kill, stop, grace period, recheck, exit: Rusty Russell's order on his distributed
  /// counter. The default.
  public static let bigref = UnloadScheme(
    "bigref", "check, keep new users out, unregister, grace period, recheck; a distributed counter",
    source: "Rusty Russell, September 2002 (bigref); Keith Owens, 9 July 2002 (the order)",
    promises: [.freeCalls, .unloadsUnderTraffic, .scalingGets, .noStarvation], busyErrno: EBUSY
  ) { _ in BigrefScheme() }
}

/// The default way to unload: check, kill, stop, grace period, recheck, exit, callback barrier,
/// unmap, verify.
///
/// Rusty Russell's order (as Keith Owens describes it, 9 July 2002) on his bigref (22 September
/// 2002):
///
/// 1. check: references or counters end the attempt with `EBUSY`, before anything changes.
/// 2. kill: every counter of the module leaves its live mode; `tryAcquireLive` fails from the
///    confirmation on.
/// 3. stop: hooks and objects are unlinked; no new call comes in.
/// 4. one grace period of every flavor that the module's hook points use, all started together. A
///    call that was inside the module has left it, or has counted itself.
/// 5. recheck: now the counts are exact. Not zero: `fail` links everything again (Keith Owens's
///    "reregister"); `wait` resumes when they reach zero (Rusty Russell's "delayed removal"), or
///    links everything again when the wait is given up.
/// 6. `exit`. It may refuse: then the interfaces stay down, and the next request tries it again.
/// 7. a grace period if the module's code ever counted, and a barrier for what it retired, if it
///    ever did: what the module retired has run, and a call that gave the last count back inside
///    the module's code has returned from it.
/// 8. unmap, and look whether the image is among the process's mappings.
///
/// Fails with `EBUSY`. The manager frees.
///
/// The objection of the thread (Roman Zippel): a user may keep an uncounted reference past the sync
/// point. The contract forbids it: using without counting is legal only inside a section, and every
/// section ends before step 5.
final class BigrefScheme: Scheme {
  private let count = ModuleCount(label: "reference")

  func get() -> Bool { count.bigref.tryAcquireLive() }
  func put() { count.bigref.release() }
  var references: Int { count.bigref.approximateCount }

  func unload(_ operation: UnloadOperation) {
    operation.begin()
    let counters = CounterSet([count] + operation.module.counts)
    counters.beginKill()
    operation.unregisterInterfaces()
    // Together with the hooks' sections, those of `Memb` end in which the counters counted locally.
    operation.afterReaders(orElse: {
      counters.confirm()
      operation.restoreService(counters)
    }) { [self] in
      recheck(operation, counters)
    }
  }

  /// Step 5.
  private func recheck(_ operation: UnloadOperation, _ counters: CounterSet) {
    counters.confirm()
    // A name that was taken meanwhile stays with the module that took it.
    if !operation.mayWait && !counters.areUnused { return operation.restoreAndRefuse(counters) }
    operation.tellUsers()
    operation.awaitZero(of: counters, orElse: { operation.restoreService(counters) }) { operation.leave() }
  }
}
