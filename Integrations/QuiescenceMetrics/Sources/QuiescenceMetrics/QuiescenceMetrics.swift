public import CoreMetrics
public import ModuleManager
public import Quiescence
internal import Synchronization

/// Hands what the library counts to swift-metrics, whenever ``record()`` is called.
///
/// The library counts by itself, without a call of a metrics backend on any path that a reader or a
/// writer takes. This reads its statistics: every few seconds is often enough.
///
/// | metric | kind | dimension | what it is |
/// |---|---|---|---|
/// | `quiescence.grace_periods` | counter | `flavor` or `domain` | grace periods that have ended |
/// | `quiescence.grace_period.median` | timer | likewise | of new ones, within a factor of two |
/// | `quiescence.grace_period.longest` | timer | likewise | likewise |
/// | `quiescence.stalls` | counter | likewise | reports of stalls |
/// | `quiescence.readers` | meter | `flavor` | registered threads |
/// | `quiescence.open_sections` | meter | `domain` | sections that are open |
/// | `quiescence.retired.queued` | meter | `reclaimer` | callbacks that wait |
/// | `quiescence.retired.high_water` | meter | `reclaimer` | the most that have waited at once |
/// | `quiescence.retired.run` | counter | `reclaimer` | callbacks that have run |
/// | `quiescence.modules` | meter | `manager` | loaded modules |
/// | `quiescence.module.users` | meter | `manager`, `module` | references to a module, roughly |
/// | `quiescence.module.refused` | counter | `manager` | calls refused by modules that go |
public final class QuiescenceMetrics: Sendable {
  private let factory: any MetricsFactory
  private let sources = Mutex<[any MetricSource]>([])

  /// Records nothing until something is added.
  ///
  /// - Parameter factory: Makes the metrics; by default that of the process.
  public init(factory: (any MetricsFactory)? = nil) { self.factory = factory ?? MetricsSystem.factory }

  /// Records the grace periods and readers of a flavor, and its shared reclaimer.
  ///
  /// - Threads: any.
  public func add<F: Flavor>(_ flavor: F.Type) {
    let name = "\(F.self)"
    add(
      GracePeriodSource(dimensions: [("flavor", name)], factory: factory) {
        GracePeriodSource.Look(F.statistics, meter: F.registeredReaders)
      })
    add(F.reclaimer, named: name)
  }

  /// Records a reclaimer, under a name of your choice.
  ///
  /// - Threads: any.
  public func add(_ reclaimer: RCUReclaimer, named name: String) {
    add(ReclaimerSource(reclaimer, dimensions: [("reclaimer", name)], factory: factory))
  }

  /// Records the grace periods and sections of a domain, and its reclaimer.
  ///
  /// A domain cannot be copied, so it is lent each time:
  /// `add(domain: "routes") { $0(server.domain) }`.
  ///
  /// - Parameters:
  ///   - name: Of the domain, as a dimension.
  ///   - lend: Calls its argument with the domain. Without a call nothing is recorded.
  /// - Threads: any.
  public func add(
    domain name: String, lentBy lend: @escaping @Sendable ((borrowing SleepableDomain) -> Void) -> Void
  ) {
    add(
      GracePeriodSource(dimensions: [("domain", name)], factory: factory) {
        var look: GracePeriodSource.Look?
        lend { domain in look = GracePeriodSource.Look(domain.statistics, meter: domain.openSections) }
        return look
      })
    var reclaimer: RCUReclaimer?
    lend { domain in reclaimer = domain.reclaimer }
    if let reclaimer { add(reclaimer, named: name) }
  }

  /// Records the modules of a manager, under a name of your choice.
  ///
  /// - Threads: any.
  public func add(_ manager: ModuleManager, named name: String) {
    add(ModuleSource(manager, dimensions: [("manager", name)], factory: factory))
  }

  private func add(_ source: any MetricSource) { sources.withLock { $0.append(source) } }

  /// Records everything once: the meters as they are now, and what the counters have gained.
  ///
  /// - Complexity: a few locks for each source, none of which a reader takes; O(modules ×
  ///   processors) for a manager.
  /// - Threads: any. Calls take turns.
  public func record() {
    sources.withLock { sources in
      for source in sources { source.record() }
    }
  }

  /// Records every `interval` until the task is cancelled, and once more then.
  public func run(every interval: Duration = .seconds(5)) async {
    while !Task.isCancelled {
      record()
      try? await Task.sleep(for: interval)
    }
    record()
  }
}

/// Something that is recorded, by one thread at a time.
protocol MetricSource: Sendable {
  func record()
}

/// A counter that is told totals.
struct TotalCounter {
  private let counter: Counter
  private var total = 0

  init(_ label: String, _ dimensions: [(String, String)], _ factory: any MetricsFactory) {
    counter = Counter(label: label, dimensions: dimensions, factory: factory)
  }

  mutating func set(_ total: Int) {
    // Statistics of a process only grow.
    if total > self.total { counter.increment(by: total - self.total) }
    self.total = total
  }
}
