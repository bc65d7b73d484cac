public import ModuleManager

/// A scheme with a hole: a hazard that the mails of 2002 warn of, or a scheme with one step left
/// out.
///
/// No product contains this. Each is caught within ten seconds: by the storm of
/// ``BrokenScheme/stormy``, or by a test of its own. ``BrokenScheme/caughtBy`` names that test.
public struct BrokenScheme: Sendable, CustomStringConvertible {
  /// The scheme, for a manager.
  public let scheme: UnloadScheme
  /// The interleaving that breaks it, in one clause.
  public let whatGoesWrong: String
  /// The test that catches it.
  public let caughtBy: String

  /// The scheme's name.
  public var description: String { scheme.name }

  init(
    _ name: String, _ summary: String, _ whatGoesWrong: String,
    caughtBy: String = "stormCatchesBrokenSchemes", _ make: @escaping @Sendable () -> any Scheme
  ) {
    scheme = UnloadScheme(
      name, summary, source: whatGoesWrong, promises: [], busyErrno: 16, make: { _ in make() })
    self.whatGoesWrong = whatGoesWrong
    self.caughtBy = caughtBy
  }

  /// Every one.
  public static let all = naive + synchronizing + counting + locking

  /// Those that the storm catches without special help.
  public static var stormy: [BrokenScheme] { all.filter { $0.caughtBy == "stormCatchesBrokenSchemes" } }

  /// The one of that name.
  public static func named(_ name: String) -> BrokenScheme? { all.first { $0.scheme.name == name } }
}
