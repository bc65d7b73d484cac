/// How a module wants to be unloaded: there is no "one size fits all" for "no users".
///
/// ```swift
/// let manager = ModuleManager()
/// try manager.load(path: "modules/fs.so", policy: .usersFirst)
/// try manager.load(path: "modules/lsm.so", policy: .interfacesFirst)
/// ```
///
/// Source: Daniel Phillips, 18 July 2002 ("it's entirely up to the module to decide").
public struct ModulePolicy: Hashable, Sendable {
  /// The scheme; nil for the manager's.
  public var scheme: UnloadScheme?
  /// What to do when an unload finds the module in use, and the request does not say it.
  public var ifBusy: BusyPolicy
  /// Whether the module can never be unloaded; an unload fails with `EBUSY`.
  public var isPermanent: Bool
  /// What the manager calls the module, in place of its own name: for a second instance of a module
  /// that is loaded. Each instance has its own image, and so its own statics.
  public var instance: String?

  /// Creates a policy.
  public init(
    scheme: UnloadScheme? = nil, ifBusy: BusyPolicy = .fail, isPermanent: Bool = false,
    instance: String? = nil
  ) {
    self.instance = instance
    self.scheme = scheme
    self.ifBusy = ifBusy
    self.isPermanent = isPermanent
  }

  /// First make sure that there are no users, then unregister: for file systems.
  public static let usersFirst = ModulePolicy(scheme: .activeBit)
  /// First unregister, then wait until no call is in progress: for modules that hook into
  /// everything, such as security modules.
  public static let interfacesFirst = ModulePolicy(scheme: .bigref)
  /// "Or possibly there really are modules that just can't be unloaded."
  public static let never = ModulePolicy(isPermanent: true)
}
