internal import Bigref
internal import CModuleABI
internal import Quiescence

/// The manager's record of one module: its image, its state, and every node that was linked on its behalf.
///
/// Nothing of this lives in the module's image, so that it can be walked after the image is gone. The manager's
/// thread alone drives the life cycle; other threads read it under the lock.
final class Module: Sendable {
  let name: String
  let image: Image
  /// The file itself, whatever its name: a second load of it would get the same mapping.
  let file: FileIdentity
  private nonisolated(unsafe) let entry: UnsafePointer<quiescent_module>
  let version: String?
  let summary: String?
  /// A cycle while the module is loaded, so that its code can always call the host; `forget` breaks it.
  let manager: ModuleManager

  /// Counts whoever keeps the module by name: open objects, `acquire` of the host's table.
  let references = ModuleCount(label: "reference")
  private let state: Locked<Links>

  /// What is linked, and since when the module is in its state.
  struct Links {
    var state = ModuleState.unformed
    var since = ContinuousClock.now
    var hooks: [Hook] = []
    var objects: [NamedObject] = []
    /// What it retired, by flavour: drained alone before its code goes.
    var cohorts: [ObjectIdentifier: RCUReclaimer] = [:]
    var counts: [ModuleCount] = []
    /// Holders who said who they are, among `references`.
    var labels: [String: Int] = [:]
    /// Jobs that wait until the module is gone.
    var afterwards: [ModuleThread.Job] = []
  }

  struct Hook: Sendable {
    let point: any AnyHookPoint
    let function: HookFunction
    let priority: Int
    /// Nil while it is unlinked.
    var id: UInt64?
  }

  init(
    name: String, image: Image, file: FileIdentity, entry: UnsafePointer<quiescent_module>,
    manager: ModuleManager
  ) {
    self.name = name
    self.image = image
    self.file = file
    self.entry = entry
    self.manager = manager
    version = entry.pointee.version.map { String(cString: $0) }
    summary = entry.pointee.description.map { String(cString: $0) }
    var links = Links()
    links.counts = [references]
    state = Locked(links)
  }

  func withLinks<Result>(_ body: (inout Links) -> Result) -> Result {
    state.withLock(body)
  }

  var isPermanent: Bool { entry.pointee.exit == nil }

  /// Calls the module's `init`. On the manager's thread, with no lock held.
  func callInit() -> Int32 {
    // Checked when the image was opened.
    entry.pointee.`init`!(HostTable.pointer, opaque)
  }

  /// Calls the module's `exit`, which ``isPermanent`` says exists. On the manager's thread, with no lock held.
  func callExit() -> Int32 { entry.pointee.exit!() }

  /// What the module knows itself by. The manager keeps the record until the module is gone.
  var opaque: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ opaque: OpaquePointer?) -> Unmanaged<Module> {
    // By the contract of the header, the pointer that `init` was given.
    Unmanaged<Module>.fromOpaque(UnsafeRawPointer(opaque!))
  }

  var currentState: ModuleState { withLinks { $0.state } }

  /// Whoever reads behind its hooks waits for these: every flavour of its hook points, and `Memb`, which
  /// its counters and objects use.
  var flavors: [any Flavor.Type] {
    var all: [any Flavor.Type] = [Memb.self]
    for hook in withLinks({ $0.hooks }) where !all.contains(where: { $0 == hook.point.flavor }) {
      all.append(hook.point.flavor)
    }
    return all
  }

  /// Where it retires under `flavor`; nil when it has not and `isNeeded` is false.
  func cohort(of flavor: any Flavor.Type, isNeeded: Bool) -> RCUReclaimer? {
    withLinks { links in
      let key = ObjectIdentifier(flavor)
      if isNeeded && links.cohorts[key] == nil { links.cohorts[key] = flavor.reclaimer.cohort(named: name) }
      return links.cohorts[key]
    }
  }

  var counts: [ModuleCount] { withLinks { $0.counts } }

  /// Everyone who keeps the module, by label.
  var holders: [ModuleHolder] {
    let (counts, labels) = withLinks { ($0.counts, $0.labels) }
    var holders = labels.sorted { $0.key < $1.key }.map { ModuleHolder(label: $0.key, count: $0.value) }
    let named = labels.values.reduce(0, +)
    for count in counts {
      let users = count.bigref.approximateCount - (count === references ? named : 0)
      if users > 0 { holders.append(ModuleHolder(label: count.label, count: users)) }
    }
    return holders
  }

  var status: ModuleStatus {
    let links = withLinks { $0 }
    let holders = holders
    var points: [String] = []
    for hook in links.hooks where !points.contains(hook.point.name) { points.append(hook.point.name) }
    return ModuleStatus(
      name: name, version: version, summary: summary, path: image.path, state: links.state,
      age: links.since.duration(to: .now), size: image.size,
      users: holders.reduce(0) { $0 + $1.count }, holders: holders, hookPoints: points,
      objects: links.objects.map(\.name))
  }
}

/// A counter that keeps a module loaded while it is not zero.
final class ModuleCount: Sendable {
  let label: String
  let bigref = Bigref()

  init(label: String) {
    self.label = label
  }

  var opaque: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ opaque: OpaquePointer?) -> Unmanaged<ModuleCount> {
    // By the contract of the header, a pointer that `bigref_create` gave.
    Unmanaged<ModuleCount>.fromOpaque(UnsafeRawPointer(opaque!))
  }
}
