internal import Quiescence

/// What a module is inside, or what its load or unload waits for, and since when.
///
/// ```swift
/// for module in ModuleManager().list() {
///   // "counter: going (exit has not returned for 12 s, thread 4711)"
///   print("\(module.name): \(module.state)", module.activity.map { "(\($0))" } ?? "")
/// }
/// ```
public struct ModuleActivity: Hashable, Sendable, Codable, CustomStringConvertible {
  /// What it is.
  public let kind: Kind
  /// Since when.
  public let duration: Duration
  /// The kernel's id of the thread that is inside the module's code; nil where no thread of the
  /// manager is. For ``Kind/services``, of one of its threads.
  public let thread: Int32?

  /// What a module is inside, or waits for. There may be more of them later.
  public struct Kind: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The word for it.
    public let rawValue: String

    /// A kind by its word.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The word.
    public var description: String { rawValue }

    /// The module's `init`.
    public static let initialize = Kind(rawValue: "init")
    /// The module's `exit`.
    public static let exit = Kind(rawValue: "exit")
    /// The module's `stop`.
    public static let stop = Kind(rawValue: "stop")
    /// The module's `cleanup`.
    public static let cleanup = Kind(rawValue: "cleanup")
    /// The module's `usecount`.
    public static let useCount = Kind(rawValue: "usecount")
    /// The module's `set` of a parameter.
    public static let set = Kind(rawValue: "set")
    /// The loader maps the image, and runs its constructors.
    public static let map = Kind(rawValue: "map")
    /// The loader unmaps the image, and runs its destructors.
    public static let unmap = Kind(rawValue: "unmap")
    /// Observers of the manager are asked, or told.
    public static let observers = Kind(rawValue: "observers")
    /// A grace period: calls that were inside the module's hooks when it began.
    public static let readers = Kind(rawValue: "readers")
    /// What the module has retired.
    public static let callbacks = Kind(rawValue: "callbacks")
    /// References and counters: `holders` names them.
    public static let users = Kind(rawValue: "users")
    /// Its workers, its deferred calls and its timers: see `quiescent_services.h`.
    public static let services = Kind(rawValue: "services")
    /// The locks of the tables that lead to the module.
    public static let locks = Kind(rawValue: "locks")
  }

  /// Such as `exit has not returned for 12 s, thread 4711`.
  public var description: String {
    let time = Self.text(duration)
    let what =
      switch kind {
      case .readers: "calls of its hooks have not returned for \(time)"
      case .services: "its workers and deferred calls have not returned for \(time)"
      case .callbacks: "what it retired has not run for \(time)"
      case .users: "waits for its users for \(time)"
      case .locks: "waits for the locks of its tables for \(time)"
      case .map: "the loader has not mapped it for \(time)"
      case .unmap: "the loader has not unmapped it for \(time)"
      case .observers: "observers have not returned for \(time)"
      default: "\(kind) has not returned for \(time)"
      }
    return thread.map { "\(what), thread \($0)" } ?? what
  }

  private static func text(_ duration: Duration) -> String {
    let milliseconds = duration.nanoseconds / 1_000_000
    return milliseconds < 1000 ? "\(milliseconds) ms" : "\(milliseconds / 1000) s"
  }
}

extension ModuleActivity {
  /// The beginning of one.
  struct Start: Sendable {
    let kind: Kind
    let thread: Int32?
    let instant = ContinuousClock.now

    /// - Parameter other: Where no thread is recorded.
    func activity(on other: Int32?) -> ModuleActivity {
      ModuleActivity(kind: kind, duration: instant.duration(to: .now), thread: thread ?? other)
    }
  }
}
