/// Where a module is in its life.
///
/// `unformed → coming → live → going → gone`; back to `live` when an unload found it busy; to
/// `cleanup` when its `exit` refused after its interfaces were taken down, from where only another
/// unload leads on.
///
/// Source: Linux kernel/module/main.c; Roman Zippel, quoted by Rusty Russell, 22 September 2002,
/// for `cleanup`.
public struct ModuleState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
  /// The state's name, as `list` and the wire show it.
  public let rawValue: String

  /// A state by its name.
  public init(rawValue: String) { self.rawValue = rawValue }

  /// Its file was read and checked; observers are asked, and then the loader maps the image and
  /// runs its constructors.
  public static let unformed = ModuleState(rawValue: "unformed")
  /// `init` runs.
  public static let coming = ModuleState(rawValue: "coming")
  /// In use.
  public static let live = ModuleState(rawValue: "live")
  /// Unloading, or waiting for its last user to release it.
  public static let going = ModuleState(rawValue: "going")
  /// `exit` refused; its interfaces are down.
  public static let cleanup = ModuleState(rawValue: "cleanup")
  /// Unloaded.
  public static let gone = ModuleState(rawValue: "gone")

  /// The state's name.
  public var description: String { rawValue }

  /// It leads to another one without a request: a load waits until it does.
  var isTransient: Bool { self == .unformed || self == .coming || self == .going }
}
