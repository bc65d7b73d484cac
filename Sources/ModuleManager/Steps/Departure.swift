package import Bigref
internal import Quiescence

/// One attempt to unload one module, and the steps that schemes put in order. On the manager's thread, with no lock held.
///
/// After a failed `init` it is the same way down, without the way back: ``mayWait`` is true, ``isFinal`` too.
package final class Departure: Sendable {
  package let module: Module
  private let policy: BusyPolicy
  /// Ends waits for locks.
  package let cancellation: WaitCancellation?
  package let isAfterFailedInit: Bool
  let start = ContinuousClock.now
  private let done: Primitive.Guarded<ModuleManager.Completion<UnloadOutcome>?>

  init(
    _ module: Module, _ policy: BusyPolicy, cancelledBy cancellation: WaitCancellation? = nil,
    isAfterFailedInit: Bool = false,
    _ done: @escaping ModuleManager.Completion<UnloadOutcome>
  ) {
    self.module = module
    self.policy = isAfterFailedInit ? .wait : policy
    self.cancellation = cancellation
    self.isAfterFailedInit = isAfterFailedInit
    self.done = Primitive.Guarded(done)
  }

  var manager: ModuleManager { module.manager }

  /// The policy is to go on when the last user lets go. Otherwise whoever finds users gives up, by ``refuse(_:errno:)``.
  package var mayWait: Bool { policy != .fail }

  /// New users are kept out, whatever the scheme does for those of a common unload.
  package var isFinal: Bool { isAfterFailedInit || isForced }

  package var isForced: Bool { policy == .force }

  /// Runs `job` on the manager's thread, behind what is queued there.
  package func later(_ job: @escaping @Sendable () -> Void) { _ = manager.thread.run(job) }
}

// MARK: - The module's state, and the answer

extension Departure {
  /// From here on the module is going: it registers nothing more, and makes no counters.
  package func begin() {
    if module.currentState != .going { manager.setState(.going, of: module) }
  }

  /// The module serves on.
  package func stay() {
    if module.currentState != .live { manager.setState(.live, of: module) }
  }

  /// Gives up, with the number for "in use", and who it is.
  package func refuse(_ holders: [ModuleHolder], errno: Int32) {
    fail(errno, "in use: " + holders.map(\.description).joined(separator: ", "), holders: holders)
  }

  /// Gives up.
  package func fail(_ errno: Int32, _ reason: String, holders: [ModuleHolder] = []) {
    answer(.failure(ModuleError(module.name, errno, reason, holders: holders)))
  }

  /// The caller is told now that the unload will happen; it goes on without anybody who waits for it.
  package func `defer`(_ holders: [ModuleHolder]) { answer(.success(.deferred(holders: holders))) }

  /// The first answer counts.
  func answer(_ result: Result<UnloadOutcome, ModuleError>) {
    done.withLock { $0.take() }?(result)
  }
}

// MARK: - Waiting for readers

extension Departure {
  /// Whoever was inside the module without having counted itself has left it, or has counted itself.
  package func waitForReaders() { Primitive.waitForGracePeriods(of: module.flavors) }
}
