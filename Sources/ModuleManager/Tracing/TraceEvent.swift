/// Something that a manager or a user of a module did while it was traced.
///
/// Source: Linux include/trace/events/module.h, and the ftrace ring behind it.
public struct TraceEvent: Hashable, Sendable {
  /// Its place among all events of the ring: one more for each, also for those that were lost.
  public let number: UInt64
  /// What it is about.
  public let kind: Kind
  /// Whether it is a moment, or one end of something that takes time.
  public let phase: Phase
  /// When, in nanoseconds of `CLOCK_MONOTONIC`. Threads take their number and the time one after the other: of two
  /// threads the event with the higher number may be earlier by as long as one of them was not running.
  public let nanoseconds: UInt64
  /// The kernel's id of the thread that did it.
  public let thread: Int32
  /// The module's name, or what was asked for. At most ``moduleLimit`` bytes; what is longer ends in `…`.
  public let module: String
  /// Who, where, or why: the label of a holder, a state, the reason of an error; empty without one. At most ``labelLimit``
  /// bytes; what is longer ends in `…`.
  public let label: String
  /// How it ended, as in `errno(3)`; 0 for success and for what has no result.
  public let errno: Int32
  /// How long it took: for ``Phase/end`` alone.
  public let duration: Duration?
  /// The ``number`` of the beginning, for an end whose beginning was recorded as well.
  public let beginning: UInt64?

  /// The most bytes of a module's name.
  public static let moduleLimit = 64
  /// The most bytes of a label.
  public static let labelLimit = 160
}

extension TraceEvent {
  /// What an event is about. There may be more of them later.
  public struct Kind: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// A number below 256 that stays the kind's own.
    public let rawValue: UInt8

    /// A kind by its number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Somebody took a reference on the module, or counted up a counter of it, which is the label then.
    public static let get = Kind(rawValue: 0)
    /// Somebody gives a reference back, or counts down. Recorded before it happens: the record of the module may be gone
    /// afterwards.
    public static let put = Kind(rawValue: 1)
    /// A reference was refused, because the module was going. Calls of hooks that a scheme turns away are only counted, see
    /// ``ModuleManager/failedGets``: recording them would cost every call.
    public static let refused = Kind(rawValue: 2)
    /// Somebody wants the module by name or alias, and it is not live. From the call to its answer.
    public static let request = Kind(rawValue: 3)
    /// A load, from when the manager turns to it to its answer. Waits for a module of the name that is going.
    public static let load = Kind(rawValue: 4)
    /// The image is mapped, relocated and checked; its constructors run.
    public static let map = Kind(rawValue: 5)
    /// The module's `init`.
    public static let initialize = Kind(rawValue: 6)
    /// An unload, from when the manager turns to it to its answer. Waits for users if it may.
    public static let unload = Kind(rawValue: 7)
    /// The module's `exit`.
    public static let exit = Kind(rawValue: 8)
    /// A grace period of every flavor that the module's hooks are called under.
    public static let readers = Kind(rawValue: 9)
    /// What the module retired runs.
    public static let callbacks = Kind(rawValue: 10)
    /// The image is unmapped, and its mappings are looked for.
    public static let unmap = Kind(rawValue: 11)
    /// The module changed its ``ModuleState``, which is the label.
    public static let state = Kind(rawValue: 12)

    private static let names = [
      "get", "put", "refused", "request", "load", "map", "init", "unload", "exit", "readers", "callbacks",
      "unmap",
      "state",
    ]

    /// The kind's name, such as `get`; its number if it has none.
    public var description: String {
      rawValue < Self.names.count ? Self.names[Int(rawValue)] : "kind \(rawValue)"
    }
  }

  /// Which end of it.
  public struct Phase: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// A number below 256 that stays the phase's own.
    public let rawValue: UInt8

    /// A phase by its number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// It takes no time worth showing.
    public static let moment = Phase(rawValue: 0)
    /// It begins.
    public static let begin = Phase(rawValue: 1)
    /// It has ended.
    public static let end = Phase(rawValue: 2)

    private static let names = ["moment", "begin", "end"]

    /// The phase's name.
    public var description: String {
      rawValue < Self.names.count ? Self.names[Int(rawValue)] : "phase \(rawValue)"
    }
  }
}
