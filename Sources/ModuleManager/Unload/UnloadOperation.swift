package import Bigref
internal import Glibc
internal import Quiescence

/// One attempt to unload one module, and the steps that schemes put in order. On the manager's
/// queue, with no lock held.
///
/// Requests join it and leave it; it can be given up, as long as something leads back, and forced.
/// It does not own the module: that is `going` as long as an attempt is under way, and whatever the
/// attempt waits for is in the module's ``ModuleActivity``.
///
/// A step that may last takes what comes next as a closure, and is the last thing that its caller
/// does: see ``ModuleQueue``.
///
/// After a failed `init`, and for a version that was replaced, it is the same way down, without the
/// way back: ``mayWait`` is true, ``isFinal`` too.
package final class UnloadOperation: Sendable {
  package let module: Module
  /// Ends waits for locks.
  package let cancellation = WaitCancellation()
  let cause: Cause
  /// Takes the place of the answer "in use": the attempt is repeated.
  private let ifInUse: (@Sendable () -> Void)?
  let start = ContinuousClock.now
  let state: Primitive.Guarded<State>

  struct State {
    var policy: BusyPolicy
    /// The requests that it answers.
    var waiters: [Waiter] = []
    var wayBack = WayBack.none
    /// What forces the wait that is under way; nil: telling the users does.
    var onForce: (@Sendable () -> Void)?
    /// No request waits any longer; but that came when nothing led back.
    var givenUp: RequestEnd.Reason?
    /// The caller was told that it will happen.
    var isPromised = false
    /// What it is inside, or waits for, lasts.
    var isStuck = false
    /// Requests that run when it is refused, has ended, or is certain.
    var afterVerdict: [ModuleQueue.Job] = []
    /// Answers the load whose `init` has failed.
    var tellLoader: ModuleQueue.Job?
  }

  /// Why the module leaves.
  enum Cause: Equatable {
    case request
    /// Its `init` has failed.
    case failedInit(ModuleError)
    /// Its `init` has not, but it could not take over from another version.
    case noTakeover(ModuleError)
    /// Another version has taken over; requests wait for its users.
    case replaced
    /// Another version has taken over; requests are answered when it has users.
    case replacedAndNotAwaited
  }

  /// A request that waits for the end of the operation.
  final class Waiter: Sendable {
    let done: ModuleManager.Completion<UnloadOutcome>

    init(_ done: @escaping ModuleManager.Completion<UnloadOutcome>) { self.done = done }
  }

  init(_ module: Module, _ policy: BusyPolicy, ifInUse: (@Sendable () -> Void)? = nil) {
    self.module = module
    cause = .request
    self.ifInUse = ifInUse
    state = Primitive.Guarded(State(policy: policy))
  }

  /// The way down of a module that no request unloads.
  init(_ module: Module, _ cause: Cause, tellLoader: ModuleQueue.Job? = nil) {
    self.module = module
    self.cause = cause
    ifInUse = nil
    // Whatever becomes of a request for the replacement: the other version serves.
    let isReplaced = cause == .replaced || cause == .replacedAndNotAwaited
    state = Primitive.Guarded(State(policy: .wait, isPromised: isReplaced, tellLoader: tellLoader))
  }

  var manager: ModuleManager { module.manager }
  var policy: BusyPolicy { state.withLock { $0.policy } }
  var isPromised: Bool { state.withLock { $0.isPromised } }
  package var isGivenUp: Bool { state.withLock { $0.givenUp != nil } }

  /// The policy is to go on when the last user releases it. Otherwise whatever finds users gives
  /// up, by ``refuse(_:)``.
  package var mayWait: Bool { policy != .fail }

  /// What finds users makes the module serve as before, also where the scheme has no way back for
  /// others.
  package var restoresService: Bool { ifInUse != nil }

  /// New users are kept out, whatever the scheme does for those of a common unload.
  package var isFinal: Bool { cause != .request || isForced }

  package var isAfterFailedInit: Bool { if case .failedInit = cause { true } else { false } }

  /// Why it has not come into service; nil if it has.
  var startError: ModuleError? {
    switch cause {
    case .failedInit(let error), .noTakeover(let error): error
    case .request, .replaced, .replacedAndNotAwaited: nil
    }
  }

  /// It has the name of another version, or none: nothing leads back, in no attempt.
  package var isNameless: Bool { manager.module(named: module.name) !== module }

  package var isForced: Bool { policy == .force }

  /// Runs `job` on the manager's queue, behind what is queued there.
  package func later(_ job: @escaping @Sendable () -> Void) { manager.queue.run(job) }
}

// MARK: - Step 1

extension UnloadOperation {
  /// The check that every scheme begins with: users that are seen now refuse an unload that does
  /// not wait, before anything is touched. Then the scheme.
  ///
  /// The look is approximate: the scheme looks again when new users are kept out.
  func check() {
    if mayWait { return module.scheme.unload(self) }
    if !module.code.hasUseCount { return check(own: 0) }
    let once = Once()
    // Nothing was touched yet.
    offerWayBack { once.take() }
    module.call(.useCount, onHandOver: stuck) { [code = module.code] in
      code.useCount
    } then: { [self] own in
      if !once.take() { return }
      isOnItsWay()
      check(own: own)
    }
  }

  private func check(own: Int) {
    // Again, if its `usecount` took long: a module that needs it may have come.
    if let error = manager.neededError(module) { return answer(.failure(error)) }
    var holders = module.holders
    if own > 0 { holders.append(ModuleHolder(label: "the module's own", count: own)) }
    if holders.isEmpty { module.scheme.unload(self) } else { refuse(holders) }
  }
}

// MARK: - The module's state, and the answer

extension UnloadOperation {
  /// From here on the module is going: it registers nothing more, and makes no counters.
  package func begin() {
    if module.currentState == .going { return }
    manager.setState(.going, of: module, because: startError.map { StateReason($0.reason, $0.errno) })
  }

  /// The module serves on.
  package func stay() {
    setWaitOver()
    if module.currentState == .live { return }
    let holders = module.holders
    manager.setState(
      .live, of: module,
      because: StateReason(holders.isEmpty ? "its unload was given up" : "in use: \(holders.joined)", EBUSY))
  }

  /// The module serves as before: its counters count on the processors, `open` lets users in, hooks
  /// and names are up, and it is live. Returns the names that other modules took meanwhile; those
  /// stay away.
  ///
  /// In this order: a user that gets in counts on a live counter, and one that finds a hook on its
  /// point gets in.
  ///
  /// - Parameter isLive: Whether it is live although names were taken.
  @discardableResult
  package func restoreService(
    _ counters: CounterSet, _ open: () -> Void = {}, isLive: ([String]) -> Bool = { _ in true }
  ) -> [String] {
    counters.revive()
    open()
    let taken = reregisterInterfaces()
    if isLive(taken) { stay() }
    return taken
  }

  /// Users were found after something was touched: the module serves as before, and the request is
  /// refused.
  package func restoreAndRefuse(_ counters: CounterSet, _ open: () -> Void = {}) {
    let holders = module.holders
    restoreService(counters, open)
    refuse(holders)
  }

  /// Gives up, with the scheme's number for "in use", and the holders.
  package func refuse(_ holders: [ModuleHolder]) {
    if let ifInUse {
      module.endAttempt(self)
      runAfterVerdict()
      return ifInUse()
    }
    let errno = module.schemeName.busyErrno
    fail(
      errno, named: errno == EWOULDBLOCK ? "EWOULDBLOCK" : nil, "in use: \(holders.joined)", holders: holders)
  }

  /// Gives up.
  package func fail(
    _ errno: Int32, named name: String? = nil, _ reason: String, holders: [ModuleHolder] = []
  ) {
    answer(.failure(ModuleError(module.name, errno, named: name, reason, holders: holders)))
  }

  /// The request is told why, and the module goes all the same.
  package func failAndGoOn(_ errno: Int32, _ reason: String, holders: [ModuleHolder]) {
    state.withLock { state in
      state.isPromised = true
      state.givenUp = nil
    }
    answerRequests(.failure(ModuleError(module.name, errno, reason, holders: holders)))
  }

  /// The caller is told now that the unload will happen; it goes on without a request that waits
  /// for it.
  package func `defer`(_ holders: [ModuleHolder]) {
    state.withLock { $0.isPromised = true }
    answerRequests(.success(.deferred(holders: holders)))
  }

  /// Answers the requests that wait: it is over, or its end is certain. One that joins later gets
  /// the next answer.
  func answer(_ result: Result<UnloadOutcome, ModuleError>) {
    if module.currentState != .going { module.endAttempt(self) }
    answerRequests(result)
  }

  /// Answers the requests that wait, and goes on.
  func answerRequests(_ result: Result<UnloadOutcome, ModuleError>) {
    tellLoader()
    let waiters = state.withLock { state in
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.done(result) }
    runAfterVerdict()
  }

  /// As jobs: the attempt has ended by then, where it ends.
  private func runAfterVerdict() {
    let jobs = state.withLock { state in
      defer { state.afterVerdict = [] }
      return state.afterVerdict
    }
    for job in jobs { later(job) }
  }
}
