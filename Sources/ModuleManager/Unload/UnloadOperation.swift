package import Bigref
internal import Glibc
internal import Quiescence

/// One attempt to unload one module, and the steps that schemes put in order. On the manager's thread, with no lock held.
///
/// After a failed `init` it is the same way down, without the way back: ``mayWait`` is true, ``isFinal`` too.
package final class UnloadOperation: Sendable {
  package let module: Module
  private let policy: BusyPolicy
  /// Ends waits for locks.
  package let cancellation: WaitCancellation?
  package let isAfterFailedInit: Bool
  /// Those that begin together with it.
  private let group: UnloadGroup?
  /// Takes the place of the answer "in use": the attempt is repeated.
  private let ifInUse: (@Sendable () -> Void)?
  let start = ContinuousClock.now
  private let done: Primitive.Guarded<ModuleManager.Completion<UnloadOutcome>?>
  private let wayBack = Primitive.Guarded(WayBack())

  private struct WayBack {
    var body: (@Sendable () -> Bool)?
    /// Nobody wants to wait any longer; but it came when what comes next was on its way.
    var overdue: (errno: Int32, reason: String)?
  }

  init(
    _ module: Module, _ policy: BusyPolicy, cancelledBy cancellation: WaitCancellation? = nil,
    isAfterFailedInit: Bool = false, with group: UnloadGroup? = nil,
    ifInUse: (@Sendable () -> Void)? = nil,
    _ done: @escaping ModuleManager.Completion<UnloadOutcome>
  ) {
    self.module = module
    self.policy = isAfterFailedInit ? .wait : policy
    self.cancellation = cancellation
    self.isAfterFailedInit = isAfterFailedInit
    self.group = group
    self.ifInUse = ifInUse
    self.done = Primitive.Guarded(done)
  }

  var manager: ModuleManager { module.manager }

  /// The policy is to go on when the last user lets go. Otherwise whoever finds users gives up, by ``refuse(_:errno:)``.
  package var mayWait: Bool { policy != .fail }

  /// Whoever finds users makes the module serve as before, also where the scheme has no way back for others.
  package var restoresService: Bool { ifInUse != nil }

  /// New users are kept out, whatever the scheme does for those of a common unload.
  package var isFinal: Bool { isAfterFailedInit || isForced }

  package var isForced: Bool { policy == .force }

  /// Runs `job` on the manager's thread, behind what is queued there.
  package func later(_ job: @escaping @Sendable () -> Void) {
    // From another thread it may come too late for the group, which has ended by the time that this is looked at.
    if let group, manager.thread.isCurrent, group.later(job) { return }
    _ = manager.thread.run(job)
  }
}

// MARK: - The module's state, and the answer

extension UnloadOperation {
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
    if let ifInUse { return ifInUse() }
    let name = errno == EWOULDBLOCK ? "EWOULDBLOCK" : nil
    fail(
      errno, named: name, "in use: " + holders.map(\.description).joined(separator: ", "), holders: holders)
  }

  /// Gives up.
  package func fail(
    _ errno: Int32, named name: String? = nil, _ reason: String, holders: [ModuleHolder] = []
  ) {
    answer(.failure(ModuleError(module.name, errno, named: name, reason, holders: holders)))
  }

  /// The caller is told now that the unload will happen; it goes on without anybody who waits for it.
  package func `defer`(_ holders: [ModuleHolder]) { answer(.success(.deferred(holders: holders))) }

  /// The first answer counts.
  func answer(_ result: Result<UnloadOutcome, ModuleError>) {
    closeWayBack()
    done.withLock { $0.take() }?(result)
  }
}

// MARK: - The end of a wait before its time

extension UnloadOperation {
  /// From here on the wait for users can be given up: `body` makes the module serve on, on the manager's thread. False: the
  /// last user has let go meanwhile. A forced unload has no way back: its users were told to go.
  ///
  /// A wait of several stages offers one in each. If the end came between two of them, this is where it is noticed: else the
  /// second stage would last as long as its users like.
  package func offerWayBack(_ body: @escaping @Sendable () -> Bool) {
    let isWaiting = done.withLock { $0 != nil }
    if !isWaiting || isFinal { return }
    let overdue = wayBack.withLock { wayBack in
      wayBack.body = body
      return wayBack.overdue
    }
    // As a job: the scheme has not finished what it does here.
    if let overdue { _ = manager.thread.run { self.giveUp(overdue.errno, overdue.reason) } }
  }

  /// From here on nothing leads back.
  package func closeWayBack() { wayBack.withLock { $0.body = nil } }

  /// Nobody wants to wait any longer. On the manager's thread. Where the scheme has no way back the unload goes on alone.
  func giveUp(_ errno: Int32, _ reason: String) {
    if done.withLock({ $0 == nil }) { return }
    let holders = module.holders
    guard let back = wayBack.withLock({ $0.body }) else { return self.defer(holders) }
    if !back() { return wayBack.withLock { $0.overdue = (errno, reason) } }
    // The last of them may have let go a moment ago.
    fail(errno, holders.isEmpty ? reason : "\(reason), in use: \(holders.joined)", holders: holders)
  }
}

/// Ends the wait of one unload early: when its time is over, or somebody has cancelled it. Any thread.
final class EarlyEnd: Sendable {
  private struct State {
    var operation: UnloadOperation?
    var reason: (errno: Int32, text: String)?
  }

  private let state = Primitive.Guarded(State())
  /// For a scheme that waits for locks.
  let cancellation = WaitCancellation()

  /// Nil while it may go on.
  var reason: (errno: Int32, text: String)? { state.withLock { $0.reason } }

  /// The first reason counts.
  func request(_ errno: Int32, _ reason: String) {
    let operation = state.withLock { state in
      if state.reason != nil { return nil as UnloadOperation? }
      state.reason = (errno, reason)
      return state.operation
    }
    cancellation.cancel()
    if let operation { giveUp(operation, errno, reason) }
  }

  /// Before the scheme begins: what is requested then comes behind it.
  func attach(_ operation: UnloadOperation) {
    let reason = state.withLock { state in
      state.operation = operation
      return state.reason
    }
    if let reason { giveUp(operation, reason.errno, reason.text) }
  }

  private func giveUp(_ operation: UnloadOperation, _ errno: Int32, _ reason: String) {
    // Not by `later`: in a group that would come before the operation has got to where it waits for users, and may offer a way
    // back.
    _ = operation.manager.thread.run { operation.giveUp(errno, reason) }
  }
}

// MARK: - Waiting for readers

extension UnloadOperation {
  /// Calls `next` when whoever was inside the module without having counted itself has left it, or has counted itself.
  package func afterReaders(_ next: @escaping @Sendable () -> Void) {
    if let group, group.afterReaders(self, next) { return }
    waitForReaders()
    next()
  }

  /// The wait of ``afterReaders(_:)``, which operations that begin together do not share.
  package func waitForReaders() { Self.waitForReaders(of: [self]) }

  static func waitForReaders(of operations: [UnloadOperation]) {
    var flavors: [any Flavor.Type] = []
    for flavor in operations.flatMap(\.module.flavors) where !flavors.contains(where: { $0 == flavor }) {
      flavors.append(flavor)
    }
    record(.readers, of: operations) { Primitive.waitForGracePeriods(of: flavors) }
  }

  /// For each of them, one inside the other: on a timeline the slices of a thread must not overlap.
  private static func record(_ kind: TraceEvent.Kind, of operations: [UnloadOperation], _ body: () -> Void) {
    let spans = operations.map { $0.manager.tracer.begin(kind, $0.module.name) }
    body()
    for (operation, span) in zip(operations, spans).reversed() { operation.manager.tracer.end(span) }
  }
}

// MARK: - Waiting for callbacks

extension UnloadOperation {
  /// Calls `next` when everything that the module retired has run.
  package func afterCallbacks(_ next: @escaping @Sendable () -> Void) {
    if let group, group.afterCallbacks(self, next) { return }
    runCallbacks()
    next()
  }

  /// The wait of ``afterCallbacks(_:)``, which operations that begin together do not share.
  package func runCallbacks() { Self.runCallbacks(of: [self]) }

  static func runCallbacks(of operations: [UnloadOperation]) {
    // Nobody retires on the modules' behalf any more: their hooks have returned, and so has each `exit`.
    // One flavor after the other: what a module retires goes through them in this order (see `Module.retire`), and a
    // barrier of the second that ran beside the first could miss it.
    let flavors = operations.map(\.module.flavors)
    record(.callbacks, of: operations) {
      for step in 0..<(flavors.map(\.count).max() ?? 0) {
        let cohorts = zip(operations, flavors).compactMap { operation, flavors in
          step < flavors.count ? operation.module.cohort(of: flavors[step], isNeeded: false) : nil
        }
        RCUReclaimer.barrier(ofCohorts: cohorts)
      }
    }
  }
}
