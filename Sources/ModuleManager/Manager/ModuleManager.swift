public import Bigref
internal import Glibc
internal import ModuleFiles
public import Quiescence

/// Loads modules into the process, links them to hook points, and unloads them while they are being called.
///
/// ```swift
/// let manager = ModuleManager()
/// manager.provide(prerouting)
/// try manager.load(path: "modules/counter.so")
/// try manager.unload("counter")
/// ```
///
/// Modules are mapped, initialized, torn down and unmapped on one thread of the manager, in order of the requests.
/// No lock is held while a module's code runs. A manager that is dropped while modules are loaded stays alive
/// with them.
///
/// Source: the mails under "Background" in the README; Linux kernel/module/main.c.
public final class ModuleManager: Sendable {
  let thread: ModuleThread
  let watches: UseWatches
  let eventSource = EventSource()
  /// For modules whose policy names none.
  public let scheme: UnloadScheme
  let refusals = RefusalCount()
  let tracer = Tracer()
  private let state = Locked(State())

  struct State {
    var points: [String: any AnyHookPoint] = [:]
    /// By name, from the check of the image on until it is unmapped.
    var modules = ModulesByName()
    /// Names in the order of loading.
    var order: [String] = []
    var objects: [String: (object: NamedObject, owner: Module)] = [:]
    var places: [UnloadScheme: SchemePlace] = [:]
    /// Those that are compiled in, by `ModuleName.key`.
    var builtIns: [String: BuiltInModule] = [:]
    /// Where modules are found by name.
    var directory: ModuleDirectory?
    var configuration = ModuleConfiguration()
    /// In the order in which they are asked.
    var observers: [ModuleObserver] = []
    /// Who waits for a request of that name; the first of them has started it.
    var requests: [String: [Completion<[ModuleStatus]>]] = [:]
    var taints: [ModuleTaint] = []
    /// The latest first.
    var unloaded: [UnloadedModule] = []
    var isLoadingForbidden = false
    var log: (@Sendable (_ module: String, _ line: String) -> Void)?
  }

  /// Makes a manager without modules. Its thread starts with the first request.
  public init(scheme: UnloadScheme = .bigref) {
    self.scheme = scheme
    thread = ModuleThread()
    watches = UseWatches(thread)
  }

  deinit { thread.stop() }

  func withState<Result>(_ body: (inout State) -> Result) -> Result {
    state.withLock(body)
  }

  /// What the modules of a scheme share.
  func place(of scheme: UnloadScheme) -> SchemePlace {
    withState { state in
      if let place = state.places[scheme] { return place }
      let place = SchemePlace()
      state.places[scheme] = place
      return place
    }
  }

  /// Lets modules hook in at `point`. A point of the same name is replaced for modules that come later.
  public func provide<Argument: ~Copyable, F: Flavor>(_ point: HookPoint<Argument, F>) {
    withState { $0.points[point.name] = point }
  }

  /// Hands every line that a module logs to `handler`, on the thread that logs. Lines are dropped without one.
  public func setLog(_ handler: (@Sendable (_ module: String, _ line: String) -> Void)?) {
    withState { $0.log = handler }
  }

  /// The loaded modules, oldest first. Never waits for a load or an unload that is under way.
  ///
  /// - Threads: any. O(modules × processors).
  public func list() -> [ModuleStatus] {
    let modules = withState { state in state.order.compactMap { state.modules[$0] } }
    return modules.map(\.status)
  }

  /// How many references and calls have been refused since the manager was made, because their modules were going.
  public var failedGets: Int { refusals.value }

  /// The names of the objects that can be opened now, sorted.
  public func objects() -> [String] {
    withState { $0.objects.keys.sorted() }
  }

  /// The life-cycle events from now on.
  public func events() -> ModuleEvents { eventSource.subscribe() }

  /// Opens the object that a module publishes under `name`, and keeps the module loaded until it is closed.
  /// `holder` is told to whoever asks why the module is busy.
  ///
  /// - Parameter onRevoke: called once if somebody forces the module out: on the manager's thread, or in here. It must not
  ///   wait for the manager, and may close the object.
  /// - Throws: `ENOENT` when no live module publishes it.
  public func open(
    _ name: String, holder: String, onRevoke: (@Sendable () -> Void)? = nil
  ) throws(ModuleError) -> OpenObject {
    // Not under the lock: a scheme's get may wait for an unload, which takes names away under it.
    let label = "\(holder) holds object \(name)"
    if let (object, owner) = published(name), owner.get(for: label) {
      // Still there: then whoever takes it away comes later, and finds the reference when it looks (again).
      if published(name)?.owner === owner {
        let opened = OpenObject(object, of: owner, label: label)
        let isForced = owner.withLinks { links in
          if !links.isForced { links.revocations[ObjectIdentifier(opened)] = onRevoke }
          return links.isForced
        }
        if isForced { onRevoke?() }
        return opened
      }
      owner.put(for: label)
    }
    throw ModuleError(name, ENOENT, "no such object")
  }

  private func published(_ name: String) -> (object: NamedObject, owner: Module)? {
    withState { state in
      guard let (object, owner) = state.objects[name] else { return nil }
      // Not before its init has succeeded.
      return owner.currentState == .coming ? nil : (object, owner)
    }
  }

  /// Loads the module in the shared object at `path`. Blocks while its `init` runs, and while a module that it
  /// replaces is still going.
  ///
  /// - Parameter parameters: What the module's parameters hold from before its `init` on; all are looked at before one is set.
  /// - Threads: any, outside sections. Loads and unloads of a manager take turns.
  /// - Throws: what `stat(2)` and `open(2)` say of the path; `ENOEXEC` for what is no module of this ABI; `EEXIST`
  ///   for a module or an image that is loaded; as ``set(_:of:to:)-swift.method`` for a parameter; what its `init` answers; `EDEADLK` inside a section, a hook,
  ///   a retired callback, or a module's `init` or `exit`. After an error nothing of the module is left.
  @available(*, noasync, message: "await load(path:) instead of blocking the task's thread")
  @discardableResult
  public func load(
    path: String, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:]
  ) throws(ModuleError) -> ModuleStatus {
    try block(path) { self.startLoad(path, policy, parameters, done: $0) }
  }

  /// Loads the module in the shared object at `path`; see the blocking form.
  @discardableResult
  public func load(
    path: String, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:]
  ) async throws(ModuleError) -> ModuleStatus {
    try await suspend(path) { self.startLoad(path, policy, parameters, done: $0) }
  }

  /// Loads the module in the shared object at `path`, to be kept and unloaded by `scheme`.
  @available(*, noasync, message: "await load(path:scheme:) instead of blocking the task's thread")
  @discardableResult
  public func load(path: String, scheme: UnloadScheme) throws(ModuleError) -> ModuleStatus {
    try load(path: path, policy: ModulePolicy(scheme: scheme))
  }

  /// Loads the module in the shared object at `path`, to be kept and unloaded by `scheme`.
  @discardableResult
  public func load(path: String, scheme: UnloadScheme) async throws(ModuleError) -> ModuleStatus {
    try await load(path: path, policy: ModulePolicy(scheme: scheme))
  }

  /// Unloads a module: no new users, interfaces down, a grace period, a last look at the count, `exit`,
  /// callbacks, unmap; in the order of its scheme. Without a policy, by the module's own.
  ///
  /// With ``BusyPolicy/fail`` it blocks for grace periods only; with ``BusyPolicy/wait`` until the last user lets go, at most
  /// for `limit`, or until `cancellation` (in the other form: of the task as well) ends the wait. Then the module serves on as
  /// before, with every scheme: its hooks are called, its names found, references to be had. Three have no way back, and answer
  /// ``UnloadOutcome/deferred(holders:)``: a forced unload, whose users were told to go; and with ``UnloadScheme/startStopExit`` a
  /// module whose own `stop` has run, and one in ``ModuleState/cleanup``. `cancellation` also ends a wait for locks, in
  /// ``UnloadScheme/lockList``. With ``BusyPolicy/whenIdle`` it serves on while one waits, and after the wait has ended, with every
  /// scheme.
  ///
  /// - Threads: any, outside sections.
  /// - Throws: `ENOENT` no such module; `EBUSY` in use (and by whom), on its way in or out already, or permanent;
  ///   `ETIMEDOUT` after `limit`, `EINTR` and `ECANCELED` when the wait was cancelled, and who held it then;
  ///   what its `exit` answers: then it is in ``ModuleState/cleanup``, and the next unload tries again;
  ///   `EDEADLK` where it would wait for itself: there, use ``unloadLater(_:ifBusy:)``.
  @available(*, noasync, message: "await unload(_:ifBusy:) instead of blocking the task's thread")
  @discardableResult
  public func unload(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> UnloadOutcome {
    try block(name, within: limit, cancelledBy: cancellation) { self.startUnload(name, policy, $0, done: $1) }
  }

  /// Unloads a module; see the blocking form.
  @discardableResult
  public func unload(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> UnloadOutcome {
    try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startUnload(name, policy, $0, done: $1)
    }
  }
}

// MARK: - Requests

extension ModuleManager {
  typealias Completion<Success> = @Sendable (Result<Success, ModuleError>) -> Void

  /// Why the calling thread must not wait for the manager's thread; nil when it may.
  func deadlock(_ subject: String) -> ModuleError? {
    if Memb.isInside || QSBR.isInside || MB.isInside || Bulletproof.isInside {
      return ModuleError(
        subject, EDEADLK, "requested inside a read-side critical section, for which it would wait")
    }
    if thread.isCurrent {
      return ModuleError(subject, EDEADLK, "requested by a module's init or exit, for which it would wait")
    }
    if ServiceThread.isReclaiming {
      return ModuleError(subject, EDEADLK, "requested by a retired callback, for which it would wait")
    }
    return nil
  }

  func block<Success: Sendable>(
    _ subject: String, _ start: (@escaping Completion<Success>) -> Void
  ) throws(ModuleError) -> Success {
    try block(subject, within: nil, cancelledBy: nil) { _, done in start(done) }
  }

  func suspend<Success: Sendable>(
    _ subject: String, _ start: @escaping (@escaping Completion<Success>) -> Void
  ) async throws(ModuleError) -> Success {
    if let error = deadlock(subject) { throw error }
    return try await suspended {
      (continuation: Suspended<Result<Success, ModuleError>>) in
      start { continuation.resume(returning: $0) }
    }.get()
  }

  /// Runs `job` on the manager's thread; answers `done` when there is no such thread to be had.
  func run<Success>(
    _ subject: String, done: @escaping Completion<Success>, _ job: @escaping ModuleThread.Job
  ) {
    let error = thread.run(job)
    if error != 0 { done(.failure(ModuleError(subject, error, "no thread for the module manager"))) }
  }

  func setState(_ state: ModuleState, of module: Module) {
    let jobs = module.withLinks { links in
      links.state = state
      links.since = .now
      // Whoever waits until it has gone looks again, also when it serves on or cannot go: else it would wait for ever.
      defer { if state != .going { links.afterwards = [] } }
      return state == .going ? [] : links.afterwards
    }
    eventSource.send(ModuleEvent(module: module.name, state: state))
    if tracer.isOn { tracer.record(.state, module: module.name, label: state.rawValue) }
    for job in jobs { _ = thread.run(job) }
    if !watches.isEmpty { watches.queueLook() }
  }
}
