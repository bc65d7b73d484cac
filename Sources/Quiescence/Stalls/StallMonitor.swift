internal import Synchronization
internal import _QuiescenceShims

/// The thread that looks at how long grace periods take, for all flavors.
///
/// It sleeps while none is under way. A thread that begins one wakes it, but not each time: once
/// awake it looks again after the threshold, and sleeps when nothing is under way then.
enum StallMonitor {
  private static let sleeper = Sleeper()
  /// The thread sleeps until a grace period begins.
  private static let isAsleep = Atomic<Bool>(true)

  /// A grace period has begun: its `runningSince` is set.
  @inline(__always)
  static func noteStart() {
    // The monitor says that it sleeps, passes the other half of this fence, and looks once more.
    // Without the pair both could miss each other's store: it would sleep while this one stalls. A
    // full fence, since a grace period of MB must not depend on membarrier(2).
    qs_fence()
    if isAsleep.load(ordering: .relaxed) { wake() }
  }

  @inline(never)
  private static func wake() {
    // One of the threads that come at once.
    if !isAsleep.exchange(false, ordering: .relaxed) { return }
    if !sleeper.wake() { isAsleep.store(true, ordering: .relaxed) }
  }

  /// See `ForkWatch.rehearsal`.
  static func rehearseReset() { Sleeper().reset() }

  static func resetAfterFork() {
    sleeper.reset()
    isAsleep.store(true, ordering: .relaxed)
  }

  /// The thread, from its start with the first grace period.
  private final class Sleeper: Sendable {
    private let state = Locked(State())

    private struct State {
      var isStarted = false
      var parker: Parker?
      /// Before this time no thread is asked for: the system has refused one. 0 while it has not.
      var nextStart: UInt64 = 0
    }

    /// False when there is no thread. Then there are no reports, and everything else works. A grace
    /// period that begins after the threshold asks for the thread again.
    func wake() -> Bool {
      let (isStarted, parker) = state.withLock { ($0.isStarted, $0.parker.take()) }
      parker?.open()
      return isStarted || start()
    }

    /// By one thread at a time: the one that has found the monitor asleep.
    private func start() -> Bool {
      let now = MonotonicClock.nanoseconds
      let mayStart = state.withLock { state in
        state.isStarted = now >= state.nextStart
        return state.isStarted
      }
      if !mayStart { return false }
      if ServiceThread.start(named: "rcu-stalls", { StallMonitor.run() }) == 0 { return true }
      let next = now + UInt64(StallReports.threshold.nanoseconds)
      state.withLock { $0 = State(nextStart: next) }
      return false
    }

    func wait(_ isNeeded: () -> Bool) {
      let parker = Parker()
      state.withLock { $0.parker = parker }
      isAsleep.store(true, ordering: .relaxed)
      qs_fence()
      if isNeeded() { StallMonitor.wake() }
      parker.wait()
    }

    func reset() { state.withLock { $0 = State() } }
  }

  private static func run() -> Never {
    var watches: [ObjectIdentifier: Watch] = [:]
    while true {
      let now = MonotonicClock.nanoseconds
      let sources = ForkWatch.stallSources
      var next: UInt64?
      var kept: [ObjectIdentifier: Watch] = [:]
      for source in sources {
        var watch = watches[ObjectIdentifier(source)] ?? Watch()
        if let due = watch.look(at: source, at: now) { next = min(next ?? .max, due) }
        kept[ObjectIdentifier(source)] = watch
      }
      watches = kept
      if let next {
        // No longer than the threshold: the grace period of another source may begin meanwhile, and
        // finds this thread awake.
        let due = Duration.nanoseconds(Int64(next > now ? next - now : 1))
        Parker().wait(for: min(due, StallReports.threshold))
      } else {
        // Grace periods often come one after the other: the next one need not wake this thread.
        Parker().wait(for: StallReports.threshold)
        if !isNeeded { sleeper.wait { isNeeded } }
      }
    }
  }

  private static var isNeeded: Bool { ForkWatch.stallSources.contains { $0.startOfGracePeriod != 0 } }

  /// One source's grace period under way.
  private struct Watch {
    /// When it began: tells one from the next.
    private var since: UInt64 = 0
    /// When it is due for the next report.
    private var due: UInt64 = 0
    private var readers = ReaderWatch()

    /// Reports what is due. Returns when to look again; nil when nothing is under way.
    mutating func look(at source: any StallSource, at now: UInt64) -> UInt64? {
      let since = source.startOfGracePeriod
      if since == 0 { return nil }
      if since != self.since {
        self.since = since
        readers = ReaderWatch()
        due = since + UInt64(StallReports.threshold.nanoseconds)
      }
      if now >= due {
        // Twice the time that has passed: a report that comes late does not bring the next one
        // nearer. Without a report, soon again.
        let isReported = source.reportStall(.nanoseconds(Int64(now - since)), &readers)
        due = isReported ? since + 2 * (now - since) : now + UInt64(StallReports.threshold.nanoseconds)
      }
      return due
    }
  }
}

/// What has grace periods that can take long: a flavor, a sleepable domain.
protocol StallSource: AnyObject, Sendable {
  /// When the one under way began, on the monotonic clock in nanoseconds; 0 while none is.
  var startOfGracePeriod: UInt64 { get }

  /// Counts and reports that it has taken so long, unless its readers have only waited for a
  /// processor. `readers` is what earlier calls in this grace period have seen. Returns whether it
  /// did.
  func reportStall(_ duration: Duration, _ readers: inout ReaderWatch) -> Bool
}

extension FlavorDomain: StallSource {
  var startOfGracePeriod: UInt64 { sequence.runningSince.load(ordering: .relaxed) }

  func reportStall(_ duration: Duration, _ readers: inout ReaderWatch) -> Bool {
    // Of a flavor that is not this library's, the readers are not known.
    if number < 0 {
      stalls.report(StallReport(flavor: name, duration: duration, readers: [], cause: .unknown))
      return true
    }
    guard let (cause, held) = readers.look(at: UInt32(number), after: duration) else { return false }
    stalls.report(StallReport(flavor: name, duration: duration, readers: held, cause: cause))
    return true
  }
}
