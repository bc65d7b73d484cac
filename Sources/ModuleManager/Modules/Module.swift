internal import ModuleFiles
package import Bigref
package import Quiescence

/// The manager's record of one module: its image, its state, and every node that was linked on its
/// behalf.
///
/// Nothing of this lives in the module's image, so that it can be walked after the image is gone.
/// The manager's queue alone drives the life cycle; other threads read it under the lock.
package final class Module: Sendable {
  package let name: String
  /// What it calls itself; another name than `name` where it is an instance.
  let ownName: String
  /// The file that it was read from; nil for a module that is built into the host.
  let path: String?
  /// That file, whatever its name.
  let file: FileIdentity?
  private let mapped: Locked<Mapped>
  /// A cycle while the module is loaded, so that its code can always call the host; `forget` breaks
  /// it.
  let manager: ModuleManager
  let policy: ModulePolicy
  /// How the module is kept and unloaded.
  package let scheme: any Scheme
  let schemeName: UnloadScheme

  /// Gets that failed because the module was going.
  package let refusals: RefusalCount
  /// Records references that are taken and given back, while it has followers.
  let tracer: Tracer
  /// Holders that gave a label, among the scheme's references.
  let labels = HolderLabels()
  /// What the host runs and keeps for it.
  let services: ModuleServices
  /// Its code has counted references or made a counter, and so may give one back as the last thing
  /// that it does.
  private let isCounting = Primitive.Flag(false)
  private let state: Locked<Links>
  /// For putting hooks on and taking them off. Not the lock of `state`, which hooks take when they
  /// retire: publishing a hook point's table may wait for room in a full reclaimer, and so for a
  /// hook that would wait for the lock.
  let linking = Primitive.Guarded(())

  /// What is linked, and since when the module is in its state.
  struct Links {
    var state = ModuleState.unformed
    var since = ContinuousClock.now
    var hooks: [Hook] = []
    var objects: [NamedObject] = []
    /// The modules that it depends on: it holds a reference on each.
    var providers: [Module]
    /// It was loaded because another one depends on it or wants it, and no request has asked for it
    /// since.
    var isAutoloaded: Bool
    /// The keys of the names of those that it wants, of which each was there when it was loaded.
    var softProviders: Set<String> = []
    /// The version that it is about to replace: until it takes over, its hooks are on no point, and
    /// names of that version are not its own.
    var predecessor: Module?
    /// Another version has taken over.
    var isReplaced = false
    /// Its state, which the manager keeps for it.
    var kept: KeptState?
    /// What it retired, by flavor: drained alone before its code goes.
    var reclaimers: [ObjectIdentifier: RCUReclaimer] = [:]
    var counts: [ModuleCount] = []
    /// Holders that are told when it is forced out.
    var revocations: [ObjectIdentifier: @Sendable () -> Void] = [:]
    /// They have been told.
    var isForced = false
    /// Observers that let it in, and are told when it has gone.
    var observers: [ModuleObserver] = []
    /// Jobs that wait until the module is neither coming nor going, and no unload is under way.
    var afterwards: [ModuleQueue.Job] = []
    /// What the host has refused to its `init` last.
    var refusal: Refusal?
    /// What its code is inside.
    var calls = Calls()
    /// How often requests have changed each parameter.
    var changes: [String: Int] = [:]
    /// What its load or unload waits for.
    var wait: ModuleActivity.Start?
    /// The unload that is under way.
    var attempt: UnloadOperation?
    /// Requests that have loaded it, or found it loaded, and are not answered yet; by what they
    /// asked for.
    var requests: [String: Int] = [:]

    mutating func takeAfterwards() -> [ModuleQueue.Job] {
      defer { afterwards = [] }
      return afterwards
    }
  }

  /// A call of the host that failed, with what would have been right.
  struct Refusal {
    let errno: Int32
    /// Made when it is asked for: modules may look for several hook points before they give up.
    let reason: @Sendable () -> String
  }

  struct Hook: Sendable {
    let point: any AnyHookPoint
    let function: HookFunction
    /// Of a built-in module.
    let closure: HookClosure?
    let priority: Int
    /// Nil before it was linked for the first time. It keeps the id, and with it its place on the
    /// point, while it is off.
    var id: UInt64?
    var isLinked = false
  }

  init(
    _ code: any ModuleCode, from prepared: PreparedImage? = nil, policy: ModulePolicy, manager: ModuleManager,
    providers: [Module] = [], isAutoloaded: Bool = false, replacing predecessor: Module? = nil
  ) {
    name = code.name
    ownName = prepared?.name ?? code.name
    mapped = Locked(Mapped(code: code))
    path = prepared?.path
    file = prepared?.identity
    self.policy = policy
    self.manager = manager
    tracer = manager.tracer
    services = ModuleServices(of: code.name)
    refusals = RefusalCount(total: manager.refusals)
    schemeName = policy.scheme ?? manager.scheme
    scheme = schemeName.make(manager.place(of: schemeName))
    state = Locked(Links(providers: providers, isAutoloaded: isAutoloaded, predecessor: predecessor))
  }

  private struct Mapped: Sendable {
    var code: any ModuleCode
    var image: Image?
  }

  var isAutoloaded: Bool { withLinks { $0.isAutoloaded } }

  /// Its functions. Until its image is mapped, what its file says of itself.
  var code: any ModuleCode { mapped.withLock { $0.code } }

  /// Nil for a module that is built into the host, and before it is mapped.
  var image: Image? { mapped.withLock { $0.image } }

  /// Its image is mapped.
  func setMapped(_ image: Image, _ code: any ModuleCode) {
    mapped.withLock { $0 = Mapped(code: code, image: image) }
  }

  /// The modules that it depends on.
  var providers: [Module] { withLinks { $0.providers } }

  /// What it is found by.
  var fileName: String { path.map { ModuleName.ofFile($0) } ?? name }

  func withLinks<Result>(_ body: (inout Links) -> Result) -> Result {
    state.withLock(body)
  }

  var isPermanent: Bool { policy.isPermanent || code.isPermanent }

  /// See `isCounting`. Cheap when it is set already.
  func willCount() {
    if !isCounting.load(ordering: .relaxed) { isCounting.store(true, ordering: .relaxed) }
  }

  var countsItself: Bool { isCounting.load(ordering: .relaxed) }

  /// Counts a reference. False, and counted as failed, when the scheme refuses. `label` is for the
  /// trace.
  func get(_ label: String = "") -> Bool {
    let isHeld = scheme.get()
    if !isHeld { refusals.increment() }
    if tracer.isOn { tracer.record(isHeld ? .get : .refused, module: name, label: label) }
    return isHeld
  }

  /// Gives a reference back. Where nothing else keeps the record, it may be gone when this returns.
  func put(_ label: String = "") {
    // Before: see above.
    if tracer.isOn { tracer.record(.put, module: name, label: label) }
    scheme.put()
    // Nothing of `self` from here on.
    ReleaseNotifier.ring()
  }

  func gate(for point: any AnyHookPoint) -> HookGate? {
    scheme.gate(for: point).map { HookGate($0, refusals) }
  }

  /// What the module knows itself by. The manager keeps the record until the module is gone.
  var opaque: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ opaque: OpaquePointer?) -> Unmanaged<Module> {
    // By the contract of the header, the pointer that `init` was given.
    Unmanaged<Module>.fromOpaque(UnsafeRawPointer(opaque!))
  }

  package var currentState: ModuleState { withLinks { $0.state } }

  /// The flavors whose grace periods an unload waits for: that of each hook point of the module,
  /// and `Memb`, which its counters and objects use.
  package var flavors: [any Flavor.Type] {
    var all: [any Flavor.Type] = [Memb.self]
    for hook in withLinks({ $0.hooks }) where !all.contains(where: { $0 == hook.point.flavor }) {
      all.append(hook.point.flavor)
    }
    return all
  }

  /// Where it retires under `flavor`. A reclaimer of its own, which a callback that does not return
  /// holds up alone: the flavor's runs what everything else in the process retires. It has no
  /// thread: its callbacks run in the manager's queue for them.
  func reclaimer(of flavor: any Flavor.Type) -> RCUReclaimer {
    withLinks { links in
      let key = ObjectIdentifier(flavor)
      if let reclaimer = links.reclaimers[key] { return reclaimer }
      let reclaimer = makeReclaimer(flavor)
      links.reclaimers[key] = reclaimer
      return reclaimer
    }
  }

  private func makeReclaimer<F: Flavor>(_ flavor: F.Type) -> RCUReclaimer {
    RCUReclaimer(named: name, flavor, helping: manager.callbacks)
  }

  /// Where it has retired. What is retired in turn, by a callback or from one flavor to the next,
  /// belongs to the barriers of these, also where it comes to others.
  var reclaimers: [RCUReclaimer] { withLinks { Array($0.reclaimers.values) } }

  /// The unload of it that is under way.
  var attempt: UnloadOperation? { withLinks { $0.attempt } }

  /// Its state, when it is neither coming nor going and no unload is under way. Otherwise nil, and
  /// `job` runs when that is so.
  func settledState(orLater job: @escaping ModuleQueue.Job) -> ModuleState? {
    withLinks { links in
      if !links.state.isTransient && links.attempt == nil { return links.state }
      links.afterwards.append(job)
      return nil
    }
  }

  package func endAttempt(_ operation: UnloadOperation) {
    let jobs = withLinks { links in
      if links.attempt === operation { links.attempt = nil }
      return links.state.isTransient ? [] : links.takeAfterwards()
    }
    for job in jobs { manager.queue.run(job) }
  }

  /// No hook of it is on a point.
  package var hasNoHooks: Bool { withLinks { $0.hooks.allSatisfy { !$0.isLinked } } }

  package var counts: [ModuleCount] { withLinks { $0.counts } }

  /// What keeps the module, by label; without the users that only its `usecount` knows of.
  package var holders: [ModuleHolder] {
    var holders = labels.holders
    let labeled = holders.reduce(0) { $0 + $1.count }
    func add(_ label: String, _ users: Int) {
      if users > 0 { holders.append(ModuleHolder(label: label, count: users)) }
    }
    add("reference", scheme.references - labeled)
    for count in counts { add(count.label, count.bigref.approximateCount) }
    for (request, count) in withLinks({ $0.requests }).sorted(by: { $0.key < $1.key }) {
      add("request \(request)", count)
    }
    return holders
  }

  var status: ModuleStatus {
    let links = withLinks { $0 }
    let holders = holders
    var points: [String] = []
    for hook in links.hooks where !points.contains(hook.point.name) { points.append(hook.point.name) }
    return ModuleStatus(
      name: name, version: code.version, summary: code.summary, path: path ?? "", state: links.state,
      age: links.since.duration(to: .now), size: image?.size ?? 0,
      users: holders.reduce(0) { $0 + $1.count }, holders: holders, hookPoints: points,
      objects: links.objects.map(\.name), dependsOn: links.providers.map(\.name),
      dependents: manager.dependents(of: self).map(\.name), scheme: schemeName.name,
      addresses: image?.bounds, failedGets: refusals.value, residency: image?.residency, activity: activity)
  }
}

/// A counter that keeps a module loaded while it is not zero.
package final class ModuleCount: Sendable {
  package let label: String
  package let bigref = Bigref()
  private let module: String
  private let tracer: Tracer

  /// A scheme's own, which counts references: those are traced where they are taken.
  package convenience init(label: String) { self.init(label: label, module: "", tracer: .none) }

  init(label: String, module: String, tracer: Tracer) {
    self.label = label
    self.module = module
    self.tracer = tracer
  }

  func acquire() {
    bigref.acquire()
    if tracer.isOn { tracer.record(.get, module: module, label: label) }
  }

  /// As ``Module/put(_:)``.
  func release() {
    if tracer.isOn { tracer.record(.put, module: module, label: label) }
    bigref.release()
    ReleaseNotifier.ring()
  }

  var opaque: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ opaque: OpaquePointer?) -> Unmanaged<ModuleCount> {
    // By the contract of the header, a pointer that `bigref_create` gave.
    Unmanaged<ModuleCount>.fromOpaque(UnsafeRawPointer(opaque!))
  }
}
