/// A way to keep modules and to unload them: the schemes of the debate of 2002, and what came of it.
///
/// ```swift
/// let manager = ModuleManager(scheme: .bigref)
/// try manager.load(path: "modules/counter.so", scheme: .oneAtomic)
/// for scheme in UnloadScheme.all { print(scheme.name, scheme.source) }
/// ```
///
/// Each is a file under `Schemes/`, whose comment has the steps in order, what fails with which number, who frees, and the
/// objection that was raised. The default is ``bigref``.
public struct UnloadScheme: Hashable, Sendable, CustomStringConvertible {
  /// Unique, for command lines: lowercase words with hyphens.
  public let name: String
  /// What it does, in one line.
  public let summary: String
  /// The mail and its author, or the kernel's file.
  public let source: String
  /// What it keeps, beyond what all keep: no call into unmapped code, nothing freed twice.
  public let promises: [Promise]
  /// The error number of an unload that finds users and does not wait.
  public let busyErrno: Int32

  package let make: @Sendable (SchemePlace) -> any Scheme

  package init(
    _ name: String, _ summary: String, source: String, promises: [Promise], busyErrno: Int32,
    make: @escaping @Sendable (SchemePlace) -> any Scheme
  ) {
    self.name = name
    self.summary = summary
    self.source = source
    self.promises = promises
    self.busyErrno = busyErrno
    self.make = make
  }

  /// The name.
  public var description: String { name }

  /// Schemes are the same when their names are.
  public static func == (left: UnloadScheme, right: UnloadScheme) -> Bool { left.name == right.name }

  /// By the name.
  public func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// The scheme of that name, of ``all``.
  public static func named(_ name: String) -> UnloadScheme? { all.first { $0.name == name } }
}

extension UnloadScheme {
  /// Something that a scheme keeps, and others do not.
  public struct Promise: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// What it is called.
    public let rawValue: String

    /// A promise by its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }

    /// A hook call counts nothing and takes no lock.
    public static let freeCalls = Promise(rawValue: "free calls")
    /// An unload waits for no grace period.
    public static let noGracePeriod = Promise(rawValue: "no grace period")
    /// Calls that are under way do not make an unload fail: it waits for them.
    public static let unloadsUnderTraffic = Promise(rawValue: "unloads under traffic")
    /// Where an unload fails for its users, the interfaces were never down: nobody looked for them in vain.
    public static let noWindow = Promise(rawValue: "no window")
    /// A get never fails while the module is there, or will be again: it waits.
    public static let noFailedGets = Promise(rawValue: "no failed gets")
    /// Getting a reference writes to nothing that processors share.
    public static let scalingGets = Promise(rawValue: "scaling gets")
    /// Who waits for an unload is served when the present users let go, however many new ones would like to come.
    public static let noStarvation = Promise(rawValue: "no starvation")
  }
}
