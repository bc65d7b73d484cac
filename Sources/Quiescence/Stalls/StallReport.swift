/// A grace period that takes long, and the readers that it waits for.
///
/// While a reader stays inside a section, nothing that was retired since then is freed, and all
/// waits for grace periods continue. The library measures each grace period. It makes a report if
/// the grace period has not ended after ``StallReports/threshold``, then after twice that time,
/// four times, and so on. A reader that is preempted inside its section is no stall: see ``Cause``.
///
/// Source: Linux, Documentation/RCU/stallwarn.rst; Open vSwitch, `ovs-rcu.c`.
public struct StallReport: Sendable, CustomStringConvertible {
  /// A thread inside a section that the grace period waits for.
  public struct Reader: Hashable, Sendable, CustomStringConvertible {
    /// The kernel's id of the thread.
    public let id: Int32
    /// The thread's name, cut to the kernel's 15 bytes.
    public let name: String
    /// Whether the thread slept at the moment of the report: it is blocked inside its section. Nil
    /// if the kernel does not tell.
    public let isAsleep: Bool?
    /// Processor time that the thread has used since the library first saw it delay this grace
    /// period: zero at the first look. Nil if the kernel does not tell.
    public let processorTime: Duration?

    /// Creates a reader, to test a handler with.
    public init(id: Int32, name: String, isAsleep: Bool? = nil, processorTime: Duration? = nil) {
      self.id = id
      self.name = name
      self.isAsleep = isAsleep
      self.processorTime = processorTime
    }

    /// `name (id)`, and whether it is asleep.
    public var description: String { "\(name) (\(id))\(isAsleep == true ? " asleep" : "")" }
  }

  /// Why a grace period takes long, as far as the library can tell.
  public struct Cause: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The name.
    public let rawValue: String

    /// Creates a cause from its name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// The name.
    public var description: String { rawValue }

    /// At least one of the readers sleeps inside its section, or has run for longer than the
    /// threshold in it.
    public static let readers = Cause(rawValue: "readers")
    /// All of the readers have waited for a processor for a hundred times the threshold, or nearly
    /// so: other threads take the processors.
    public static let preemption = Cause(rawValue: "preemption")
    /// Sections of a ``SleepableDomain``.
    public static let sections = Cause(rawValue: "sections")
    /// A thread that other code has registered with liburcu: this library does not know it.
    public static let foreign = Cause(rawValue: "foreign")
    /// The flavor is not one of this library's, so its readers are not known.
    public static let unknown = Cause(rawValue: "unknown")
  }

  /// The flavor, such as `Memb`; for a ``SleepableDomain``, that word and the name of the domain.
  public let flavor: String
  /// How long the grace period has taken so far.
  public let duration: Duration
  /// The readers that the grace period waits for, at the moment of the report: at most 16. Empty
  /// for the causes that have none.
  public let readers: [Reader]
  /// The number of sections that the grace period waits for, for a ``SleepableDomain``, whose
  /// sections belong to no thread. Otherwise nil.
  public let sections: Int?
  /// Why.
  public let cause: Cause
  /// How many reports of the flavor or domain the handler did not get since the one before: see
  /// ``StallReports/limit``.
  public let leftOut: Int

  /// Creates a report, to test a handler with. Without a cause: ``Cause/sections`` if there is
  /// their number, otherwise ``Cause/readers``.
  public init(
    flavor: String, duration: Duration, readers: [Reader], sections: Int? = nil, cause: Cause? = nil,
    leftOut: Int = 0
  ) {
    self.flavor = flavor
    self.duration = duration
    self.readers = readers
    self.sections = sections
    self.cause = cause ?? (sections == nil ? .readers : .sections)
    self.leftOut = leftOut
  }

  /// This report, with the number of those that were left out before it.
  func after(_ leftOut: Int) -> StallReport {
    StallReport(
      flavor: flavor, duration: duration, readers: readers, sections: sections, cause: cause, leftOut: leftOut
    )
  }

  /// The report in one line.
  public var description: String {
    let names = readers.map(\.description).joined(separator: ", ")
    let (subject, readers) =
      switch cause {
      case .sections:
        (
          "a grace period of the \(flavor)",
          sections.map { "\($0) section\($0 == 1 ? "" : "s")" } ?? "sections that are leaving"
        )
      case .preemption: ("a \(flavor) grace period", "readers that wait for a processor: \(names)")
      case .foreign: ("a \(flavor) grace period", "a thread that this library did not register")
      case .unknown: ("a \(flavor) grace period", "readers of a flavor that is not this library's")
      default: ("a \(flavor) grace period", names)
      }
    let before = leftOut == 0 ? "" : "; \(leftOut) report\(leftOut == 1 ? "" : "s") before this one left out"
    return "\(subject) has waited for \(duration) for \(readers)\(before)"
  }
}
