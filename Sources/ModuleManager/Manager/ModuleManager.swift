public import Bigref
internal import Glibc
internal import ModuleFiles
public import Quiescence

/// Loads modules into the process, links them to hook points, and unloads them while they are being
/// called.
///
/// ```swift
/// let manager = ModuleManager()
/// manager.provide(prerouting)
/// try manager.load(path: "modules/counter.so")
/// try manager.unload("counter")
/// ```
///
/// Modules are mapped, initialized, torn down and unmapped one after the other, in order of the
/// requests. No lock is held while a module's code runs. Code that does not return holds up its
/// module alone: the manager goes on with another thread, and ``list()`` says what the module is
/// inside, since when, and on which thread. A manager that is dropped while modules are loaded
/// stays alive with them.
///
/// Every request ends at its limit, or when it is cancelled, whatever the modules do; and says then
/// what it waited for.
///
/// Source: the mails that the article "The debate of 2002" lists; Linux kernel/module/main.c.
public final class ModuleManager: Sendable {
  let queue: ModuleQueue
  /// Where what modules retire runs.
  let callbacks: ModuleQueue
  let waits: SharedWaits
  let watches: UseWatches
  let eventSource = EventSource()
  /// For modules whose policy names none.
  public let scheme: UnloadScheme
  let refusals = RefusalCount()
  let tracer = Tracer()
  let copies: CopyPlace
  private let state = Locked(State())

  struct State {
    var points: [String: any AnyHookPoint] = [:]
    /// By name, from the check of the image on until it is unmapped, or replaced.
    var modules = ModulesByName()
    /// In the order of loading; with versions that are about to take a name over, or have lost it.
    var loaded: [Module] = []
    var objects: [String: (object: NamedObject, owner: Module)] = [:]
    var places: [UnloadScheme: SchemePlace] = [:]
    /// Those that are compiled in, by `ModuleName.key`.
    var builtIns: [String: BuiltInModule] = [:]
    /// Where modules are found by name.
    var directory: ModuleDirectory?
    var configuration = ModuleConfiguration()
    /// In the order in which they are asked.
    var observers: [ModuleObserver] = []
    /// In the order in which they are asked. It only grows.
    var verifiers: [ModuleVerifier] = []
    /// Requests that are served, by what was asked for.
    var requests: [String: LoadRequest] = [:]
    var taints: [ModuleTaint] = []
    /// The latest first.
    var unloaded: [UnloadedModule] = []
    var isLoadingForbidden = false
    var log: (@Sendable (_ module: String, _ line: String) -> Void)?
  }

  /// Makes a manager without modules. Its threads start with the first request.
  public convenience init(scheme: UnloadScheme = .bigref) {
    self.init(scheme: scheme, patience: ModuleQueue.patience)
  }

  /// - Parameters:
  ///   - patience: How long a call of a module's code may take before another thread takes the
  ///     queue over. Nil: for ever, so that each job ends before the next one begins.
  ///   - copies: Where the copies of images are.
  package init(scheme: UnloadScheme = .bigref, patience: Duration?, copies: CopyPlace = .memory) {
    self.scheme = scheme
    self.copies = copies
    queue = ModuleQueue(named: "modules", patience: patience)
    callbacks = ModuleQueue(named: "module-callbacks", patience: patience)
    waits = SharedWaits(queue)
    watches = UseWatches(queue)
  }

  deinit {
    queue.stop()
    callbacks.stop()
  }

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

  /// Lets modules hook in at `point`. A point of the same name is replaced for modules that come
  /// later.
  public func provide<Argument: ~Copyable, F: Flavor>(_ point: HookPoint<Argument, F>) {
    withState { $0.points[point.name] = point }
  }

  /// Hands every line that a module logs to `handler`, on the thread that logs. Lines are dropped
  /// without one.
  public func setLog(_ handler: (@Sendable (_ module: String, _ line: String) -> Void)?) {
    withState { $0.log = handler }
  }

  /// The loaded modules, oldest first. Never waits for a load or an unload that is under way.
  ///
  /// - Threads: any. O(modules × processors).
  public func list() -> [ModuleStatus] {
    withState { $0.loaded }.map(\.status)
  }

  /// How many references and calls have been refused since the manager was made, because their
  /// modules were going.
  public var failedGets: Int { refusals.value }

  /// The names of the objects that can be opened now, sorted.
  public func objects() -> [String] {
    withState { $0.objects.keys.sorted() }
  }

  /// The life-cycle events from now on.
  public func events() -> ModuleEvents { eventSource.subscribe() }

  /// Opens the object that a module publishes under `name`, and keeps the module loaded until it is
  /// closed.
  ///
  /// - Parameters:
  ///   - name: The name that the module gave the object.
  ///   - holder: Names the caller in "in use" errors and in lists.
  ///   - onRevoke: Called once if the module is forced out: on the manager's queue, or in here. It
  ///     must not wait for the manager, and may close the object.
  /// - Throws: `ENOENT` when no live module publishes it.
  public func open(
    _ name: String, holder: String, onRevoke: (@Sendable () -> Void)? = nil
  ) throws(ModuleError) -> OpenObject {
    // Not under the lock: a scheme's get may wait for an unload, which takes names away under it.
    let label = "\(holder) holds object \(name)"
    var last: Module?
    while let (object, owner) = published(name), owner !== last {
      if owner.get(for: label) {
        // Still there: then an unload that takes it away comes later, and finds the reference when
        // it looks (again).
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
      // Another version may have taken the name over in between: it was there all the time.
      last = owner
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

  /// Loads the module in the shared object at `path`. Blocks while its `init` runs, and while a
  /// module that it replaces is still going.
  ///
  /// A load whose `init` failed is answered when the module is unmapped; or at once, when the
  /// module has users, and when a step lasts. Then the module is `going`, visibly, until they have
  /// released it and what it retired has run. A load that comes meanwhile waits for that.
  ///
  /// - Parameters:
  ///   - path: The module's file; a relative path is resolved in the working directory.
  ///   - policy: Whether and how it may be unloaded.
  ///   - parameters: What the module's parameters hold from before its `init` on; all are looked at
  ///     before one is set.
  ///   - name: What the module must call itself, where `-` and `_` are the same; nil: anything.
  ///   - limit: Then it ends with `ETIMEDOUT`, whatever the module does. An `init` that runs goes
  ///     on: when it returns, the module is live, or has gone.
  ///   - cancellation: The same, with `EINTR`; in the other form also the end of the task, with
  ///     `ECANCELED`.
  /// - Threads: any, outside sections. Loads and unloads of a manager take turns.
  /// - Throws: what `stat(2)` and `open(2)` say of the path; `EPERM` when others may change the
  ///   file or a directory of its path; what a verifier says; `ENOEXEC` for what is no module of
  ///   this ABI, and for one of another name; `EEXIST` for a module or an image that is
  ///   loaded; as `set(_:of:to:within:cancelledBy:)` for a parameter; what its
  ///   `init` answers; `EDEADLK` inside a section, a hook, a retired callback, or a module's `init`
  ///   or `exit`.
  @available(*, noasync, message: "await load(path:) instead of blocking the task's thread")
  @discardableResult
  public func load(
    path: String, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:],
    as name: String? = nil, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> ModuleStatus {
    try block(path, within: limit, cancelledBy: cancellation) {
      self.startLoad(path, policy, parameters, as: name, $0, done: $1)
    }
  }

  /// Loads the module in the shared object at `path`; see the blocking form.
  @discardableResult
  public func load(
    path: String, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:],
    as name: String? = nil, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> ModuleStatus {
    try await suspend(path, within: limit, cancelledBy: cancellation) {
      self.startLoad(path, policy, parameters, as: name, $0, done: $1)
    }
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

  /// Unloads a module: no new users, interfaces down, a grace period, a last look at the count,
  /// `exit`, callbacks, unmap; in the order of its scheme. Without a policy, by the module's own.
  ///
  /// With ``BusyPolicy/fail`` it blocks for grace periods only; with ``BusyPolicy/wait`` until the
  /// last user releases it, at most for `limit`, or until `cancellation` (in the other form: of the
  /// task as well) ends the wait. Then the module serves on as before, with every scheme: its hooks
  /// are called in their old places, its names are found, references can be taken. Three have no
  /// way back, and answer ``UnloadOutcome/deferred(holders:)``: a forced unload, whose users were
  /// told to go; and with ``UnloadScheme/startStopExit`` a module whose own `stop` has run, and one
  /// in ``ModuleState/cleanup``. With ``BusyPolicy/whenIdle`` it serves on while one waits, and
  /// after the wait has ended, with every scheme.
  ///
  /// A module that is going already: with ``BusyPolicy/fail`` the answer is `EBUSY`; with
  /// ``BusyPolicy/wait`` the request joins the unload that is under way, and only the end of the
  /// last request gives that up; with ``BusyPolicy/force`` it also forces it. See
  /// ``unloadAttempt(of:)``.
  ///
  /// While the module's own code does not return (`exit`, `stop`, a callback) nothing leads back:
  /// the request ends at its limit and says so, and the unload goes on when that returns.
  ///
  /// - Threads: any, outside sections.
  /// - Throws: `ENOENT` no such module; `EBUSY` in use (and the holders), on its way in or out
  ///   already, or permanent; `EWOULDBLOCK` other modules need it, or a request that is not
  ///   answered yet; `ETIMEDOUT` after `limit`, `EINTR` and `ECANCELED` when the wait was
  ///   cancelled, and what it waited for; what its `exit` answers: then it is in
  ///   ``ModuleState/cleanup``, and the next unload tries again; `EDEADLK` where it would wait for
  ///   itself: there, use ``unloadLater(_:ifBusy:)``.
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

// MARK: - States

extension ModuleManager {
  func setState(_ state: ModuleState, of module: Module, because reason: StateReason? = nil) {
    let now = ContinuousClock.now
    let (previous, since, jobs) = module.withLinks { links in
      let (previous, since) = (links.state, links.since)
      links.state = state
      links.since = now
      // Loads that wait until the module has settled look again, also when it serves on or cannot
      // go: else they would wait for ever. As jobs: the attempt has ended by then.
      return (previous, since, state.isTransient ? [] : links.takeAfterwards())
    }
    // One that observers have refused has never come.
    if !(previous == .unformed && state == .gone) {
      eventSource.send(
        ModuleEvent(
          module: module.name, state: state, previous: previous, duration: since.duration(to: now),
          reason: reason?.text, errno: reason?.errno, version: module.code.version, path: module.path ?? "",
          addresses: module.image?.bounds))
      if tracer.isOn { tracer.record(.state, module: module.name, label: state.rawValue) }
    }
    for job in jobs { queue.run(job) }
    if !watches.isEmpty { watches.queueLook() }
  }
}

/// Why a module came to a state.
struct StateReason {
  let text: String
  let errno: Int32?

  init(_ text: String, _ errno: Int32? = nil) {
    self.text = text
    self.errno = errno
  }
}
