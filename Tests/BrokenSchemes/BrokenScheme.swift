public import ModuleManager

/// A scheme with a hole: what the thread warned of, or what a scheme would be with one step left out.
///
/// Only tests and tools link this. Each is caught within ten seconds: by the storm, or by a test of its own, which ``BrokenScheme/caughtBy``
/// names.
public struct BrokenScheme: Sendable, CustomStringConvertible {
  /// What a manager takes.
  public let scheme: UnloadScheme
  /// The scenarios of the interleaving that break it, by the numbers of `SCHEMES.md`.
  public let scenarios: String
  /// The test that catches it.
  public let caughtBy: String

  /// The scheme's name.
  public var description: String { scheme.name }

  init(
    _ name: String, _ summary: String, _ scenarios: String, caughtBy: String,
    _ make: @escaping @Sendable () -> any Scheme
  ) {
    scheme = UnloadScheme(
      name, summary, source: scenarios, promises: [], busyErrno: 16, make: { _ in make() })
    self.scenarios = scenarios
    self.caughtBy = caughtBy
  }

  /// Every one.
  public static let all = naive + synchronizing + counting + locking

  /// Those that the storm catches, without any help.
  public static var stormy: [BrokenScheme] { all.filter { $0.caughtBy == "theStormCatchesIt" } }

  /// The one of that name.
  public static func named(_ name: String) -> BrokenScheme? { all.first { $0.scheme.name == name } }
}
