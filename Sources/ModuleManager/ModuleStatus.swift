/// What is known about a loaded module at one moment.
public struct ModuleStatus: Hashable, Sendable, Codable {
  /// The name it gave itself.
  public let name: String
  /// The version it gave itself.
  public let version: String?
  /// Its one line about itself.
  public let summary: String?
  /// The file it was loaded from.
  public let path: String
  /// Where it is in its life.
  public let state: ModuleState
  /// How long it has been in that state.
  public let age: Duration
  /// Bytes of address space that its file occupies.
  public let size: Int
  /// About how many references keep it, without its owner's; exact while it is going.
  public let users: Int
  /// The same, by who holds them.
  public let holders: [ModuleHolder]
  /// The hook points it is on, in the order of registration.
  public let hookPoints: [String]
  /// The objects it publishes.
  public let objects: [String]
}

/// What to do when an unload finds the module in use.
public struct BusyPolicy: Hashable, Sendable {
  private let rawValue: UInt8

  /// Give up with `EBUSY` and say who holds it; the module serves on. (Keith Owens, seed 001: "reregister".)
  public static let fail = BusyPolicy(rawValue: 0)
  /// Keep new users out, and finish when the last one lets go. (Rusty Russell, seed 001: "delayed removal".)
  public static let wait = BusyPolicy(rawValue: 1)
}

/// How an unload ended.
public enum UnloadOutcome: Hashable, Sendable {
  /// Its code is out of the process.
  case unloaded(UnloadReport)
  /// `exit` has run and nobody uses it, but the loader kept its image mapped.
  case resident(image: String, reason: String)
}

/// A finished unload.
public struct UnloadReport: Hashable, Sendable {
  /// The module's name.
  public let module: String
  /// The file that was unmapped.
  public let image: String
  /// From the request to the check of the mappings.
  public let duration: Duration
  /// The process's mappings were read afterwards, and the image is not among them.
  public let unmapped: Bool
}
