/// An action of a manager, or of a user of a module, that was recorded while the manager was
/// traced.
///
/// Source: Linux include/trace/events/module.h, and the ftrace ring buffer.
public struct TraceEvent: Hashable, Sendable {
  /// The position among all events of the ring. Lost events have a number too.
  public let number: UInt64
  /// What the event is about.
  public let kind: Kind
  /// Whether the event is a moment, or the beginning or end of a span.
  public let phase: Phase
  /// The time, in nanoseconds of `CLOCK_MONOTONIC`. A thread takes its number first and its time
  /// second: if it is interrupted between the two, an event with a higher number may have an
  /// earlier time.
  public let nanoseconds: UInt64
  /// The kernel's id of the thread.
  public let thread: Int32
  /// The name of the module, or the name that was requested. At most ``moduleLimit`` bytes; a
  /// longer name is cut and ends in `…`.
  public let module: String
  /// The label of a holder, a state, or the reason of an error; empty without one. At most
  /// ``labelLimit`` bytes; a longer label is cut and ends in `…`.
  public let label: String
  /// The result, as in `errno(3)`: 0 for success, and for events without a result.
  public let errno: Int32
  /// The duration of a span, for ``Phase/end`` alone.
  public let duration: Duration?
  /// The ``number`` of the beginning of a span, for an end whose beginning was recorded.
  public let beginning: UInt64?

  /// The largest number of bytes of a module's name.
  public static let moduleLimit = 64
  /// The largest number of bytes of a label.
  public static let labelLimit = 160
}

extension TraceEvent {
  /// What an event is about. Later versions may add kinds.
  public struct Kind: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The kind's number, below 256. It never changes.
    public let rawValue: UInt8

    /// Creates a kind from its number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// A reference to the module was acquired, or one of its counters was incremented; then the
    /// label is the counter's.
    public static let get = Kind(rawValue: 0)
    /// A reference is about to be released, or a counter to be decremented. Recorded before it
    /// happens: the module may be gone afterwards.
    public static let put = Kind(rawValue: 1)
    /// A reference was refused, because the module was going. Refused hook calls are only counted,
    /// see ``ModuleManager/failedGets``: recording them would slow down every call.
    public static let refused = Kind(rawValue: 2)
    /// A request for a module that is not live, by name or alias. From the call to its answer.
    public static let request = Kind(rawValue: 3)
    /// A load, from the moment when the manager starts it to its answer. It waits for a module of
    /// the same name that is going.
    public static let load = Kind(rawValue: 4)
    /// The image is mapped, relocated and checked, and its constructors run.
    public static let map = Kind(rawValue: 5)
    /// The module's `init`.
    public static let initialize = Kind(rawValue: 6)
    /// An unload, from the moment when the manager starts it to its answer. It may wait for users.
    public static let unload = Kind(rawValue: 7)
    /// The module's `exit`.
    public static let exit = Kind(rawValue: 8)
    /// A grace period of every flavor that the module's hooks run under.
    public static let readers = Kind(rawValue: 9)
    /// The callbacks that the module retired run.
    public static let callbacks = Kind(rawValue: 10)
    /// The image is unmapped, and the manager checks that its mappings are gone.
    public static let unmap = Kind(rawValue: 11)
    /// The module has changed its ``ModuleState``, which is the label.
    public static let state = Kind(rawValue: 12)
    /// A replacement, from the moment when the manager starts it to its answer.
    public static let replace = Kind(rawValue: 13)

    private static let names = [
      "get", "put", "refused", "request", "load", "map", "init", "unload", "exit", "readers", "callbacks",
      "unmap",
      "state", "replace",
    ]

    /// Those that this version records.
    public static let all = Set((0..<UInt8(names.count)).map(Kind.init))

    /// The kind's name, such as `get`; its number if it has no name.
    public var description: String {
      rawValue < Self.names.count ? Self.names[Int(rawValue)] : "kind \(rawValue)"
    }
  }

  /// The position of an event in a span.
  public struct Phase: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The phase's number, below 256. It never changes.
    public let rawValue: UInt8

    /// Creates a phase from its number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// An event without a duration.
    public static let moment = Phase(rawValue: 0)
    /// The beginning of a span.
    public static let begin = Phase(rawValue: 1)
    /// The end of a span.
    public static let end = Phase(rawValue: 2)

    private static let names = ["moment", "begin", "end"]

    /// The phase's name.
    public var description: String {
      rawValue < Self.names.count ? Self.names[Int(rawValue)] : "phase \(rawValue)"
    }
  }
}
