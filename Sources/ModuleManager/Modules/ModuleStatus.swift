/// What is known about a loaded module at one moment.
public struct ModuleStatus: Hashable, Sendable, Codable {
  /// The name it gave itself.
  public let name: String
  /// The version it gave itself.
  public let version: String?
  /// Its one line about itself.
  public let summary: String?
  /// The file it was loaded from; empty for a built-in one.
  public let path: String
  /// Where it is in its life.
  public let state: ModuleState
  /// How long it has been in that state.
  public let age: Duration
  /// Bytes of address space that its file occupies.
  public let size: Int
  /// About how many references keep it, without its owner's; exact while it is going.
  public let users: Int
  /// The same, by holder.
  public let holders: [ModuleHolder]
  /// The hook points it is on, in the order of registration.
  public let hookPoints: [String]
  /// The objects it publishes.
  public let objects: [String]
  /// The modules that it depends on.
  public let dependsOn: [String]
  /// The modules that depend on it.
  public let dependents: [String]
  /// How it is kept and unloaded: the name of an ``UnloadScheme``.
  public let scheme: String
  /// The addresses of its image, from the first to the last mapping; nil for a built-in module, and
  /// before it is mapped.
  public let addresses: Range<UInt>?
  /// How many references and calls it has refused because it was going.
  public let failedGets: Int
  /// Why its image will stay mapped after it is unloaded, as its file shows; nil if the image will
  /// be unmapped, unless the module leaves something behind.
  public let residency: String?
  /// What it is inside, or what its load or unload waits for, and since when; nil when that is
  /// nothing.
  public let activity: ModuleActivity?
}

/// What to do when an unload finds the module in use.
///
/// For a hook that filters it matters whether calls find it meanwhile: each policy says it.
public struct BusyPolicy: Hashable, Sendable {
  private let rawValue: UInt8

  /// Fails with `EBUSY` and names the holders; the module stays in service. (Keith Owens, 9 July
  /// 2002: "reregister".)
  ///
  /// Hook points: users that the counts show at first refuse the unload before anything is touched.
  /// A user that comes during the unload is found after the interfaces were taken down, with
  /// schemes that unregister first: then calls find no hook for the time of a grace period.
  public static let fail = BusyPolicy(rawValue: 0)
  /// Refuses new users, and finishes after the last release. (Rusty Russell, quoted by Keith Owens,
  /// 9 July 2002: "delayed removal".)
  ///
  /// Hook points: the module's hooks are off, or refuse calls, as long as it waits; with
  /// ``UnloadScheme/lockList`` they are called until the last release.
  public static let wait = BusyPolicy(rawValue: 1)
  /// Refuses new users, asks the present ones to release it (``OpenObject``'s `onRevoke`, and the
  /// module itself), and finishes after the last release. Users keep what they hold until they
  /// release it. Leaves a taint, see ``ModuleManager/taints``. (Daniel Phillips, 18 July 2002: the
  /// force flag.)
  ///
  /// Hook points: the module's hooks are off, or refuse calls, from the beginning.
  public static let force = BusyPolicy(rawValue: 2)
  /// Stays in service, admits new users, and unloads at the first moment without a holder and
  /// without a dependent module: it tries as ``fail``, and again after each release. An attempt
  /// that meets a new user puts the module back into service, with every scheme. (Rusty Russell, 22
  /// September 2002: "wake me when you can be unloaded".)
  ///
  /// Hook points: hooks are called while it waits, except during an attempt that meets a new user.
  ///
  /// There is no promise that such a moment comes: under steady use ``wait`` ends, and this may
  /// not.
  public static let whenIdle = BusyPolicy(rawValue: 3)
}

/// How an unload ended.
public enum UnloadOutcome: Hashable, Sendable {
  /// Its code is out of the process.
  case unloaded(UnloadReport)
  /// `exit` has run and it has no users, but its image stays mapped: the loader keeps it, its file
  /// shows that the process may not lose it (``ModuleStatus/residency``), or its code has left
  /// something behind that would run in unmapped memory, for example a thread.
  case resident(image: String, reason: String)
  /// It was in use; its interfaces are down for good, and it goes when the last of these releases
  /// it. No request waits for that. With ``UnloadScheme/delayedRemoval``, and where a wait that has
  /// ended has no way back.
  case deferred(holders: [ModuleHolder])
}

/// A finished unload.
public struct UnloadReport: Hashable, Sendable {
  /// The module's name.
  public let module: String
  /// The file that was unmapped; nil for a built-in module.
  public let image: String?
  /// From the request to the check of the mappings.
  public let duration: Duration
  /// The process's mappings were read afterwards, and the image is not among them. False without an
  /// image.
  public let unmapped: Bool
}
