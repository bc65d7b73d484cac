/// A grace period that takes long, and who holds it up.
///
/// A reader that stays inside a section keeps everything that was retired since from being freed, and everybody who
/// waits waiting. The library measures each grace period, and makes a report when one is not over after
/// ``StallReports/threshold``, then after twice the time, four times, and so on.
///
/// Source: Linux, Documentation/RCU/stallwarn.rst; Open vSwitch, `ovs-rcu.c`.
public struct StallReport: Sendable, CustomStringConvertible {
  /// A thread that is inside a section which the grace period waits for.
  public struct Reader: Hashable, Sendable, CustomStringConvertible {
    /// The kernel's id of the thread.
    public let id: Int32
    /// The thread's name, cut to the kernel's 15 bytes.
    public let name: String

    /// One of your own, to test a handler with.
    public init(id: Int32, name: String) {
      self.id = id
      self.name = name
    }

    /// `name (id)`.
    public var description: String { "\(name) (\(id))" }
  }

  /// The flavor: `Memb`. Of a ``SleepableDomain``, that and its name.
  public let flavor: String
  /// How long the grace period has taken so far.
  public let duration: Duration
  /// Who holds it up, at the moment of the report: at most 16. Empty when they are not known, since other code
  /// registered them with liburcu, or when the last of them has just left.
  public let readers: [Reader]
  /// How many sections hold it up, where they are counted and belong to no thread: those of a ``SleepableDomain``. Else
  /// nil.
  public let sections: Int?

  /// One of your own, to test a handler with.
  public init(flavor: String, duration: Duration, readers: [Reader], sections: Int? = nil) {
    self.flavor = flavor
    self.duration = duration
    self.readers = readers
    self.sections = sections
  }

  /// One line.
  public var description: String {
    if let sections {
      return
        "a grace period of the \(flavor) has waited for \(duration) for \(sections) section\(sections == 1 ? "" : "s")"
    }
    let who =
      readers.isEmpty
      ? "a thread that this library did not register, or that has just left"
      : readers.map(\.description).joined(separator: ", ")
    return "a \(flavor) grace period has waited for \(duration) for \(who)"
  }
}

/// Where reports of stalled readers go.
public enum StallReports {
  /// Called with each report, on the library's own thread `rcu-stalls`, outside every section. It must not wait
  /// for a grace period: the next reports would wait for it.
  public typealias Handler = @Sendable (StallReport) -> Void

  private static let state = Locked((handler: nil as Handler?, threshold: Duration.milliseconds(10)))

  /// Replaces the handler, and returns the one before. Nil, as at the start, only counts: the library prints nothing
  /// by itself. Any thread.
  @discardableResult
  public static func setHandler(_ handler: Handler?) -> Handler? {
    state.withLock { state in
      defer { state.handler = handler }
      return state.handler
    }
  }

  /// How long a grace period may take before the first report about it; at the start 10 ms. At least a millisecond.
  /// Setting it takes effect with the grace periods that begin later. Any thread.
  public static var threshold: Duration {
    get { state.withLock { $0.threshold } }
    set { state.withLock { $0.threshold = max(newValue, .milliseconds(1)) } }
  }

  static func report(_ report: StallReport) { state.withLock { $0.handler }?(report) }
}
