/// A way to count the users of modules and to unload modules: the schemes of the mails of 2002, and
/// today's kernel.
///
/// ```swift
/// let manager = ModuleManager(scheme: .bigref)
/// try manager.load(path: "modules/counter.so", scheme: .oneAtomic)
/// for scheme in UnloadScheme.all { print(scheme.name, scheme.source) }
/// ```
///
/// Each scheme is a file under `Schemes/`. Its comment has the steps in order, the error number of
/// each failure, which code frees the module, and the objection that was raised. The default is
/// ``bigref``.
public struct UnloadScheme: Hashable, Sendable, CustomStringConvertible {
  /// A unique name for command lines: lowercase words with hyphens.
  public let name: String
  /// A summary in one line.
  public let summary: String
  /// The author and date of the mail, or the kernel's file.
  public let source: String
  /// What the scheme guarantees, beyond what all guarantee: no call into unmapped code, nothing
  /// freed twice.
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

  /// Schemes with equal names are equal.
  public static func == (left: UnloadScheme, right: UnloadScheme) -> Bool { left.name == right.name }

  /// Hashes the name.
  public func hash(into hasher: inout Hasher) { hasher.combine(name) }

  /// The scheme with this name among ``all``.
  public static func named(_ name: String) -> UnloadScheme? { all.first { $0.name == name } }
}

extension UnloadScheme {
  /// A guarantee that some schemes give, and others do not.
  public struct Promise: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The promise's name.
    public let rawValue: String

    /// Creates a promise from its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }

    /// A hook call does not count and takes no lock.
    public static let freeCalls = Promise(rawValue: "free calls")
    /// An unload waits for no grace period.
    public static let noGracePeriod = Promise(rawValue: "no grace period")
    /// Calls in progress do not make an unload fail: the unload waits for them.
    public static let unloadsUnderTraffic = Promise(rawValue: "unloads under traffic")
    /// If an unload fails because of users, the interfaces were never unregistered: no lookup has
    /// failed in between.
    public static let noWindow = Promise(rawValue: "no window")
    /// A get never fails while the module is loaded or will be again: it waits.
    public static let noFailedGets = Promise(rawValue: "no failed gets")
    /// A get writes to no memory that processors share.
    public static let scalingGets = Promise(rawValue: "scaling gets")
    /// A waiting unload ends when the present users release it, however many new ones ask.
    public static let noStarvation = Promise(rawValue: "no starvation")
  }
}
