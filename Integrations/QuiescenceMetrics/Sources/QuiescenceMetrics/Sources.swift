internal import CoreMetrics
internal import ModuleManager
internal import Quiescence
internal import Synchronization

/// The grace periods of a flavor or a domain.
final class GracePeriodSource: MetricSource {
  /// What the library says at one moment.
  struct Look {
    let statistics: GracePeriodStatistics
    let meter: Int

    init(_ statistics: GracePeriodStatistics, meter: Int) {
      self.statistics = statistics
      self.meter = meter
    }
  }

  private struct State {
    var gracePeriods: TotalCounter
    var stalls: TotalCounter
    var before = DurationHistogram().counts
  }

  private let look: @Sendable () -> Look?
  private let state: Mutex<State>
  private let meter: Meter
  private let median: Timer
  private let longest: Timer

  init(
    dimensions: [(String, String)], factory: any MetricsFactory, _ look: @escaping @Sendable () -> Look?
  ) {
    self.look = look
    let isFlavor = dimensions.contains { $0.0 == "flavor" }
    meter = Meter(
      label: isFlavor ? "quiescence.readers" : "quiescence.open_sections", dimensions: dimensions,
      factory: factory)
    median = Timer(label: "quiescence.grace_period.median", dimensions: dimensions, factory: factory)
    longest = Timer(label: "quiescence.grace_period.longest", dimensions: dimensions, factory: factory)
    state = Mutex(
      State(
        gracePeriods: TotalCounter("quiescence.grace_periods", dimensions, factory),
        stalls: TotalCounter("quiescence.stalls", dimensions, factory)))
  }

  func record() {
    guard let look = look() else { return }
    meter.set(look.meter)
    state.withLock { state in
      state.gracePeriods.set(look.statistics.gracePeriods)
      state.stalls.set(look.statistics.stalls)
      let counts = look.statistics.durations.counts
      let new = zip(counts, state.before).map { $0 - $1 }
      state.before = counts
      guard let last = new.lastIndex(where: { $0 > 0 }) else { return }
      let half = (new.reduce(0, +) + 1) / 2
      var seen = 0
      let middle = new.firstIndex { count in
        seen += count
        return seen >= half
      }
      // The longest of all times bounds every bucket.
      let bound = look.statistics.durations.longest
      median.recordNanoseconds(Self.end(ofBucket: middle ?? last, atMost: bound))
      longest.recordNanoseconds(Self.end(ofBucket: last, atMost: bound))
    }
  }

  /// The longest duration, in nanoseconds, that counts in a bucket of a `DurationHistogram`.
  private static func end(ofBucket index: Int, atMost bound: Duration) -> Int64 {
    let (seconds, attoseconds) = bound.components
    return min(Int64.max >> (62 - index), seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
  }
}

/// What waits in a reclaimer.
final class ReclaimerSource: MetricSource {
  private let reclaimer: RCUReclaimer
  private let queued: Meter
  private let highWater: Meter
  private let run: Mutex<TotalCounter>

  init(_ reclaimer: RCUReclaimer, dimensions: [(String, String)], factory: any MetricsFactory) {
    self.reclaimer = reclaimer
    queued = Meter(label: "quiescence.retired.queued", dimensions: dimensions, factory: factory)
    highWater = Meter(label: "quiescence.retired.high_water", dimensions: dimensions, factory: factory)
    run = Mutex(TotalCounter("quiescence.retired.run", dimensions, factory))
  }

  func record() {
    let statistics = reclaimer.statistics
    queued.set(statistics.queued)
    highWater.set(statistics.highWater)
    run.withLock { $0.set(statistics.run) }
  }
}

/// The modules of a manager.
final class ModuleSource: MetricSource {
  private struct State {
    var refused: TotalCounter
    /// By module.
    var users: [String: Meter] = [:]
  }

  private let manager: ModuleManager
  private let dimensions: [(String, String)]
  private let factory: any MetricsFactory
  private let modules: Meter
  private let state: Mutex<State>

  init(_ manager: ModuleManager, dimensions: [(String, String)], factory: any MetricsFactory) {
    self.manager = manager
    self.dimensions = dimensions
    self.factory = factory
    modules = Meter(label: "quiescence.modules", dimensions: dimensions, factory: factory)
    state = Mutex(State(refused: TotalCounter("quiescence.module.refused", dimensions, factory)))
  }

  func record() {
    let loaded = manager.list()
    modules.set(loaded.count)
    state.withLock { state in
      state.refused.set(manager.failedGets)
      for module in loaded {
        let meter =
          state.users[module.name]
          ?? Meter(
            label: "quiescence.module.users", dimensions: dimensions + [("module", module.name)],
            factory: factory)
        state.users[module.name] = meter
        meter.set(module.users)
      }
      let names = Set(loaded.map(\.name))
      // A backend keeps a metric until it is destroyed.
      for (name, meter) in state.users where !names.contains(name) {
        meter.destroy()
        state.users[name] = nil
      }
    }
  }
}
