/// Which events a client wants to be recorded for it.
public struct TraceFilterRow: Codable, Sendable, Hashable {
  /// Events of these modules alone.
  public var modules: [String]?
  /// Events of these kinds alone, as in ``TraceRow/event``.
  public var kinds: [String]?
  /// Ends of what took at least so long alone.
  public var seconds: Double?

  /// Every event, without arguments.
  public init(modules: [String]? = nil, kinds: [String]? = nil, seconds: Double? = nil) {
    self.modules = modules
    self.kinds = kinds
    self.seconds = seconds
  }
}

/// What happened to the host's modules since the last question.
public struct TraceReply: Codable, Sendable, Hashable {
  /// In order.
  public let events: [TraceRow]

  /// How many earlier ones were overwritten before they were read.
  public let lost: Int

  /// How many did not fit the filter, since the trace began.
  public let leftOut: Int

  /// The host's clock now, as in ``TraceRow/time``.
  public let now: UInt64

  /// The host's process.
  public let process: Int32

  /// For services that stand in for a host.
  public init(events: [TraceRow], lost: Int, leftOut: Int = 0, now: UInt64, process: Int32) {
    self.events = events
    self.lost = lost
    self.leftOut = leftOut
    self.now = now
    self.process = process
  }
}

/// One event of a trace.
public struct TraceRow: Codable, Sendable, Hashable {
  /// One more than that of the event before, whether that was lost or not.
  public let number: UInt64
  /// Nanoseconds of the host's monotonic clock.
  public let time: UInt64
  /// The kernel's id of the thread.
  public let thread: Int32
  /// What the thread is called; nil when it had ended before the request.
  public let threadName: String?
  /// `get`, `load`, `init` and so on.
  public let event: String
  /// `moment`, `begin` or `end`.
  public let phase: String
  /// The module.
  public let module: String
  /// The holder, the place, or the reason.
  public let label: String?
  /// The name of the number that it ended with, such as `EBUSY`; nil for success.
  public let errno: String?
  /// At an end: how long it took.
  public let nanoseconds: Int?
  /// At an end: the number of the beginning, if that was recorded.
  public let beginning: UInt64?

  /// For services that stand in for a host.
  public init(
    number: UInt64, time: UInt64, thread: Int32, threadName: String? = nil, event: String, phase: String,
    module: String, label: String? = nil, errno: String? = nil, nanoseconds: Int? = nil,
    beginning: UInt64? = nil
  ) {
    self.number = number
    self.time = time
    self.thread = thread
    self.threadName = threadName
    self.event = event
    self.phase = phase
    self.module = module
    self.label = label
    self.errno = errno
    self.nanoseconds = nanoseconds
    self.beginning = beginning
  }
}
