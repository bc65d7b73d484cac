internal import Glibc
internal import Quiescence

/// A module that has gone, kept in mind: who finds an address in nothing, or a counter that nobody counts on, wants to know what was there.
///
/// Source: Linux `last_unloaded_module`, which its oopses print.
public struct UnloadedModule: Hashable, Sendable {
  /// The module's name.
  public let name: String
  /// The version that it gave itself.
  public let version: String?
  /// The file it was loaded from; empty for a built-in one.
  public let path: String
  /// How it went.
  public let end: End
  /// When it had gone.
  public let instant: ContinuousClock.Instant

  /// How a module went.
  public struct End: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// What it is called.
    public let rawValue: String

    /// An end by its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }

    /// Somebody has unloaded it.
    public static let unloaded = End(rawValue: "unloaded")
    /// The same, and users were told to go: see ``BusyPolicy/force``.
    public static let forced = End(rawValue: "forced")
    /// Its `init` has failed.
    public static let failed = End(rawValue: "failed")
    /// Its `exit` has run, and the loader kept its image mapped.
    public static let resident = End(rawValue: "resident")
  }
}

extension ModuleManager {
  /// The module that was the last to go.
  public var lastUnloaded: UnloadedModule? { recentlyUnloaded.first }

  /// The last modules that have gone, eight at the most, the latest first.
  public var recentlyUnloaded: [UnloadedModule] { withState { $0.unloaded } }

  /// Keeps in mind that a module has gone; before anybody can see that it has. On the manager's thread.
  func remember(_ module: Module, _ end: UnloadedModule.End) {
    let unloaded = UnloadedModule(
      name: module.name, version: module.code.version, path: module.image?.path ?? "", end: end,
      instant: .now)
    withState { state in
      state.unloaded.insert(unloaded, at: 0)
      if state.unloaded.count > 8 { state.unloaded.removeLast() }
    }
  }
}

extension ModuleManager {
  /// Loads no module from here on, compiled in or not: `EPERM`. There is no way back. What is loaded stays, can be asked for, and can be
  /// unloaded. A load whose `init` has begun is not ended.
  ///
  /// Source: Linux `kernel.modules_disabled`, which forbids unloading as well.
  public func forbidLoading() { withState { $0.isLoadingForbidden = true } }

  /// Whether ``forbidLoading()`` was called.
  public var isLoadingForbidden: Bool { withState { $0.isLoadingForbidden } }

  /// Before any code of a module runs.
  func checkLoading(_ name: String) throws(ModuleError) {
    if isLoadingForbidden { throw ModuleError(name, EPERM, "loading modules has been forbidden for good") }
  }
}
