internal import Glibc
internal import Quiescence

/// A record of a module that was unloaded, for debugging: it tells which module an address or a
/// counter belonged to.
///
/// Source: Linux `last_unloaded_module`, which its oopses print.
public struct UnloadedModule: Hashable, Sendable {
  /// The module's name.
  public let name: String
  /// The version in the module's description.
  public let version: String?
  /// The file that it was loaded from; empty for a built-in module.
  public let path: String
  /// Where its image was; nil for a built-in module, and for one that was not mapped. See also
  /// ``ModuleAddress``.
  public let addresses: Range<UInt>?
  /// How it ended.
  public let end: End
  /// When it ended.
  public let instant: ContinuousClock.Instant

  /// The ways in which a module can end.
  public struct End: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The name.
    public let rawValue: String

    /// Creates an end from its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }

    /// Unloaded by a request.
    public static let unloaded = End(rawValue: "unloaded")
    /// The same, after users were asked to release it: see ``BusyPolicy/force``.
    public static let forced = End(rawValue: "forced")
    /// Another version has taken over, and it has left: see
    /// `ModuleManager.replace(_:with:parameters:within:cancelledBy:)`.
    public static let replaced = End(rawValue: "replaced")
    /// Its `init` has failed, or it could not take over from another version.
    public static let failed = End(rawValue: "failed")
    /// Its `exit` has run, but the loader has kept its image mapped.
    public static let resident = End(rawValue: "resident")
  }
}

extension ModuleManager {
  /// The module that was unloaded last.
  public var lastUnloaded: UnloadedModule? { recentlyUnloaded.first }

  /// The last eight modules that were unloaded, the latest first.
  public var recentlyUnloaded: [UnloadedModule] { withState { $0.unloaded } }

  /// Records that a module was unloaded, before any thread can see that it was. On the manager's
  /// thread.
  func remember(_ module: Module, _ end: UnloadedModule.End) {
    let unloaded = UnloadedModule(
      name: module.name, version: module.code.version, path: module.path ?? "",
      addresses: module.image?.bounds, end: end, instant: .now)
    withState { state in
      state.unloaded.insert(unloaded, at: 0)
      if state.unloaded.count > 8 { state.unloaded.removeLast() }
    }
  }
}

extension ModuleManager {
  /// Forbids loading from now on, for images and built-in modules: `EPERM`. There is no way back.
  /// Loaded modules stay, can be requested, and can be unloaded. A load whose `init` has begun
  /// continues.
  ///
  /// Source: Linux `kernel.modules_disabled`, which forbids unloading as well.
  public func forbidLoading() { withState { $0.isLoadingForbidden = true } }

  /// Forbids loading until the process ends, as `forbidLoading()` of one manager: for each manager
  /// that there is or will be, and in processes that are forked from here on.
  public static func forbidLoading() { isForbiddenInProcess.store(true, ordering: .releasing) }

  private static let isForbiddenInProcess = Primitive.Flag(false)

  /// Whether `forbidLoading()` was called, for this manager or for all.
  public var isLoadingForbidden: Bool {
    Self.isForbiddenInProcess.load(ordering: .acquiring) || withState { $0.isLoadingForbidden }
  }

  /// Call this before any code of the module runs.
  func checkLoading(_ name: String) throws(ModuleError) {
    if isLoadingForbidden { throw ModuleError(name, EPERM, "loading modules has been forbidden for good") }
  }
}
