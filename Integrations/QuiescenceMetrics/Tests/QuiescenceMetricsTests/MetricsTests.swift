import CoreMetrics
import MetricsTestKit
import ModuleManager
import Quiescence
import QuiescenceMetrics
import Testing

/// What the library counts, in a metrics backend.
@Suite struct MetricsTests {
  private let backend = TestMetrics()
  private var metrics: QuiescenceMetrics { QuiescenceMetrics(factory: backend) }

  @Test func gracePeriodsOfAFlavorAreCountedOnce() async throws {
    let metrics = metrics
    metrics.add(MB.self)
    metrics.record()
    let before = MB.statistics.gracePeriods
    for _ in 0..<10 { await MB.synchronize() }
    metrics.record()
    metrics.record()
    let counter = try backend.expectCounter("quiescence.grace_periods", [("flavor", "MB")])
    #expect(
      counter.totalValue == Int64(MB.statistics.gracePeriods) && counter.totalValue >= Int64(before + 10))
    let median = try backend.expectTimer("quiescence.grace_period.median", [("flavor", "MB")])
    let longest = try backend.expectTimer("quiescence.grace_period.longest", [("flavor", "MB")])
    // One for each record() with new grace periods: the third had none.
    #expect(median.values.count == longest.values.count && (1...2).contains(median.values.count))
    #expect(zip(median.values, longest.values).allSatisfy { 0 < $0 && $0 <= $1 })
    let stalls = try backend.expectCounter("quiescence.stalls", [("flavor", "MB")])
    #expect(stalls.totalValue == Int64(MB.statistics.stalls))
  }

  @Test func readersAreMetered() throws {
    let metrics = metrics
    metrics.add(Memb.self)
    // Registers the thread, if it is not registered.
    Memb.read { _ in }
    metrics.record()
    let readers = try backend.expectMeter("quiescence.readers", [("flavor", "Memb")])
    #expect((readers.lastValue ?? 0) >= 1)
  }

  @Test func reclaimerIsRecorded() async throws {
    let metrics = metrics
    let reclaimer = RCUReclaimer(named: "own", Memb.self)
    metrics.add(reclaimer, named: "own")
    for _ in 0..<100 { reclaimer.retire {} }
    await reclaimer.barrier()
    metrics.record()
    let run = try backend.expectCounter("quiescence.retired.run", [("reclaimer", "own")])
    let queued = try backend.expectMeter("quiescence.retired.queued", [("reclaimer", "own")])
    let most = try backend.expectMeter("quiescence.retired.high_water", [("reclaimer", "own")])
    #expect(run.totalValue == 100 && queued.lastValue == 0)
    #expect((1...100).contains(most.lastValue ?? 0))
  }

  @Test func domainIsRecorded() async throws {
    let metrics = metrics
    let shared = SharedDomain(SleepableDomain("table"))
    metrics.add(domain: "table") { $0(shared.domain) }
    await shared.domain.synchronize()
    await shared.domain.read { _ in metrics.record() }
    let sections = try backend.expectMeter("quiescence.open_sections", [("domain", "table")])
    let gracePeriods = try backend.expectCounter("quiescence.grace_periods", [("domain", "table")])
    #expect(sections.lastValue == 1 && gracePeriods.totalValue == 1)
    _ = try backend.expectMeter("quiescence.retired.queued", [("reclaimer", "table")])
  }

  /// Mutant: meters of unloaded modules stay.
  @Test func modulesComeAndGo() async throws {
    let metrics = metrics
    let manager = ModuleManager()
    metrics.add(manager, named: "filters")
    let module = BuiltInModule("limiter") { _ in 0 }
    try await manager.load([module])
    metrics.record()
    let dimensions = [("manager", "filters"), ("module", "limiter")]
    #expect(try backend.expectMeter("quiescence.modules", [("manager", "filters")]).lastValue == 1)
    #expect(try backend.expectMeter("quiescence.module.users", dimensions).lastValue == 0)
    try await manager.unload("limiter")
    metrics.record()
    #expect(try backend.expectMeter("quiescence.modules", [("manager", "filters")]).lastValue == 0)
    #expect(throws: (any Error).self) { try backend.expectMeter("quiescence.module.users", dimensions) }
  }

  @Test func cancelledTaskRecordsOnceMore() async throws {
    let reclaimer = RCUReclaimer(named: "own", Memb.self), manager = ModuleManager()
    let task = recordMetrics(of: manager, and: reclaimer)
    task.cancel()
    await task.value
    let metrics = metrics
    metrics.add(reclaimer, named: "own")
    let run = Task { await metrics.run(every: .seconds(3600)) }
    while (try? backend.expectMeter("quiescence.retired.queued", [("reclaimer", "own")])) == nil {
      await Task.yield()
    }
    reclaimer.retire {}
    await reclaimer.barrier()
    run.cancel()
    await run.value
    #expect(try backend.expectCounter("quiescence.retired.run", [("reclaimer", "own")]).totalValue == 1)
  }
}

/// Lends a domain to closures.
private final class SharedDomain: Sendable {
  let domain: SleepableDomain
  init(_ domain: consuming SleepableDomain) { self.domain = domain }
}
