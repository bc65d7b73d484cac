internal import Bigref
internal import Glibc
internal import Quiescence
internal import Synchronization

/// The default way to unload: check, kill, stop, grace period, recheck, exit, callback barrier, unmap, verify.
///
/// Rusty Russell's order (seed 001, as Keith Owens tells it) on his bigref (seed 003):
///
/// 1. check: someone who holds the module on purpose ends the attempt with `EBUSY`, before anything is touched.
/// 2. kill: every counter of the module leaves its live mode; `tryAcquireLive` fails from the confirmation on.
/// 3. stop: hooks and objects are unlinked; no new call comes in.
/// 4. one grace period of every flavour that the module's hook points use, all at once. Whoever was inside the
///    module has left it, or has counted itself.
/// 5. recheck: now the counts are exact. Not zero: `fail` links everything again (Keith's "reregister"), `wait` comes
///    back when they are (Rusty's "delayed removal").
/// 6. `exit`. It may refuse: then the interfaces stay down, and the next request tries it again.
/// 7. a grace period, and a barrier for what the module retired, if it ever did: what the module retired has
///    run, and whoever gave the last count back inside the module's code has returned from it.
/// 8. unmap, and look whether the image is among the process's mappings.
///
/// The objection of the thread (Roman Zippel): who says that nobody keeps a reference past the sync point? The
/// contract says it: using without counting is legal only inside a section, and every section ends before step 5.
struct BigrefScheme {
  let manager: ModuleManager
  let module: Module
  private let start = ContinuousClock.now

  init(manager: ModuleManager, module: Module) {
    self.manager = manager
    self.module = module
  }

  /// Steps 1 to 8. On the manager's thread; `done` may be called later, when the policy is to wait.
  func unload(_ policy: BusyPolicy, _ done: @escaping ModuleManager.Completion<UnloadOutcome>) {
    if policy == .fail && module.references.bigref.approximateCount > 0 {
      return done(.failure(busy(module.holders)))
    }
    manager.setState(.going, of: module)
    takeDown()
    if policy == .fail && module.counts.contains(where: { $0.bigref.approximateCount > 0 }) {
      let holders = module.holders
      putUp()
      return done(.failure(busy(holders)))
    }
    whenUnused { finish(done) }
  }

  /// Steps 6 to 8 again, for a module whose `exit` refused.
  func retryExit(_ done: @escaping ModuleManager.Completion<UnloadOutcome>) {
    manager.setState(.going, of: module)
    finish(done)
  }

  /// Steps 2 to 8 without `exit`, for a module whose `init` failed.
  func abandon(_ done: @escaping @Sendable () -> Void) {
    manager.setState(.going, of: module)
    takeDown()
    whenUnused {
      _ = unmap()
      done()
    }
  }
}

// MARK: - The steps

extension BigrefScheme {
  /// Kill, stop, grace period: afterwards nobody new comes, and the counts are exact.
  private func takeDown() {
    let counts = module.counts
    for count in counts { count.bigref.beginKill() }
    for hook in module.withLinks({ $0.hooks }) { if let id = hook.id { hook.point.unlink(id) } }
    manager.withdraw(module)
    // Together with the hooks' sections, those of `Memb` end in which the counters counted locally.
    GracePeriods.wait(for: module.flavors)
    for count in counts { count.bigref.confirmKill() }
  }

  /// Undoes ``takeDown()``: the module serves on.
  private func putUp() {
    for count in module.counts { count.bigref.resurrect() }
    module.withLinks { links in
      for index in links.hooks.indices {
        let hook = links.hooks[index]
        links.hooks[index].id = hook.point.link(hook.function, closure: nil, priority: hook.priority)
      }
    }
    manager.republish(module)
    manager.setState(.live, of: module)
  }

  /// Runs `next` on the manager's thread once every counter is zero: now, or when the last user lets go.
  private func whenUnused(_ next: @escaping @Sendable () -> Void) {
    let counts = module.counts
    for count in counts { count.bigref.releaseOwner() }
    if counts.allSatisfy({ $0.bigref.isZero }) { return next() }
    let left = LeftToWait(counts.count) { [thread = manager.thread] in _ = thread.run(next) }
    for count in counts { count.bigref.atZero(.call { left.one() }) }
  }

  private func finish(_ done: @escaping ModuleManager.Completion<UnloadOutcome>) {
    let result = module.callExit()
    if result != 0 {
      manager.setState(.cleanup, of: module)
      let error = result < 0 ? -result : EINVAL
      let reason = "its exit refused; its interfaces are down, unload it again"
      return done(.failure(ModuleError(module.name, error, reason)))
    }
    done(.success(unmap()))
  }

  /// Callback barrier, unmap, verify.
  private func unmap() -> UnloadOutcome {
    // Nobody retires on the module's behalf any more: its hooks have returned, and so has `exit`.
    // One flavour after the other: what a module retires goes through them in this order (see `Module.retire`), and a
    // barrier of the second that ran beside the first could miss it.
    GracePeriods.wait(for: module.flavors)
    for flavor in module.flavors { module.cohort(of: flavor, isNeeded: false)?.barrier() }
    let image = module.image
    let reason = image.close()
    manager.forget(module)
    if let reason { return .resident(image: image.path, reason: reason) }
    let report = UnloadReport(
      module: module.name, image: image.path, duration: start.duration(to: .now), unmapped: true)
    return .unloaded(report)
  }

  private func busy(_ holders: [ModuleHolder]) -> ModuleError {
    let who = holders.map(\.description).joined(separator: ", ")
    return ModuleError(module.name, EBUSY, "in use: \(who)", holders: holders)
  }
}

/// Calls once when it has been counted down.
private final class LeftToWait: Sendable {
  private let left: Atomic<Int>
  private let body: @Sendable () -> Void

  init(_ count: Int, _ body: @escaping @Sendable () -> Void) {
    left = Atomic(count)
    self.body = body
  }

  func one() {
    if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { body() }
  }
}
