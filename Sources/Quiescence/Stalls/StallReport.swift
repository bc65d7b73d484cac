/// A grace period that takes long, and the readers that it waits for.
///
/// While a reader stays inside a section, nothing that was retired since then is freed, and all
/// waits for grace periods continue. The library measures each grace period. It makes a report if
/// the grace period has not ended after ``StallReports/threshold``, then after twice that time,
/// four times, and so on.
///
/// Source: Linux, Documentation/RCU/stallwarn.rst; Open vSwitch, `ovs-rcu.c`.
public struct StallReport: Sendable, CustomStringConvertible {
  /// A thread inside a section that the grace period waits for.
  public struct Reader: Hashable, Sendable, CustomStringConvertible {
    /// The kernel's id of the thread.
    public let id: Int32
    /// The thread's name, cut to the kernel's 15 bytes.
    public let name: String

    /// Creates a reader, to test a handler with.
    public init(id: Int32, name: String) {
      self.id = id
      self.name = name
    }

    /// `name (id)`.
    public var description: String { "\(name) (\(id))" }
  }

  /// The flavor, such as `Memb`; for a ``SleepableDomain``, that word and the name of the domain.
  public let flavor: String
  /// How long the grace period has taken so far.
  public let duration: Duration
  /// The readers that the grace period waits for, at the moment of the report: at most 16. Empty if
  /// other code has registered them with liburcu, so that this library does not know them, or if
  /// the last of them has just left.
  public let readers: [Reader]
  /// The number of sections that the grace period waits for, for a ``SleepableDomain``, whose
  /// sections belong to no thread. Otherwise nil.
  public let sections: Int?

  /// Creates a report, to test a handler with.
  public init(flavor: String, duration: Duration, readers: [Reader], sections: Int? = nil) {
    self.flavor = flavor
    self.duration = duration
    self.readers = readers
    self.sections = sections
  }

  /// The report in one line.
  public var description: String {
    if let sections {
      return
        "a grace period of the \(flavor) has waited for \(duration) for \(sections) section\(sections == 1 ? "" : "s")"
    }
    let names =
      readers.isEmpty
      ? "a thread that this library did not register, or that has just left"
      : readers.map(\.description).joined(separator: ", ")
    return "a \(flavor) grace period has waited for \(duration) for \(names)"
  }
}

/// The handler of reports, and the threshold.
public enum StallReports {
  /// Called with each report, on the library's thread `rcu-stalls`, outside every section. It must
  /// not wait for a grace period: later reports would be delayed.
  public typealias Handler = @Sendable (StallReport) -> Void

  private static let state = Locked((handler: nil as Handler?, threshold: Duration.milliseconds(10)))

  /// Replaces the handler, and returns the previous one. With nil, which is the initial value,
  /// reports are only counted: the library prints nothing. Any thread.
  @discardableResult
  public static func setHandler(_ handler: Handler?) -> Handler? {
    state.withLock { state in
      defer { state.handler = handler }
      return state.handler
    }
  }

  /// How long a grace period may take before its first report: initially 10 ms, and at least 1 ms.
  /// A new value applies to grace periods that begin later. Any thread.
  public static var threshold: Duration {
    get { state.withLock { $0.threshold } }
    set { state.withLock { $0.threshold = max(newValue, .milliseconds(1)) } }
  }

  static func report(_ report: StallReport) { state.withLock { $0.handler }?(report) }
}
