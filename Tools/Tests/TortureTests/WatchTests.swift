import Quiescence
import Synchronization
import Testing

@testable import Torture

/// Hangs and missed sections, which take a while to notice.
@Suite struct WatchTests {
  private func scene(_ change: (inout TortureOptions) -> Void = { _ in }) -> Scene<Memb> {
    var options = TortureOptions(flavor: .memb)
    change(&options)
    return Scene(options, waiters: ["first", "second"])
  }

  @Test func watchdogNamesTheHangingWaiter() async throws {
    let scene = scene()
    let watchdog = Watchdog(scene, standstill: 1, leftBehind: 2)
    // Waits of one waiter begin and end, and one wait of the other never ends.
    scene.waits.begin(1, .asyncSynchronize)
    let ended = Ended()
    let watchdogThread = try TortureThread {
      watchdog.run()
      ended.value.store(true, ordering: .releasing)
    }
    while !ended.value.load(ordering: .acquiring) {
      scene.waits.begin(0, .barrier)
      await Memb.synchronize()
      scene.waits.end(0, .barrier)
      try await Task.sleep(for: .milliseconds(5))
    }
    watchdogThread.join()
    #expect(watchdog.hasFoundHang)
    #expect(scene.failures[.hangs] == 1)
    let words = try #require(scene.failures.first)
    #expect(words.contains("second has waited for 2 seconds in await synchronize()"), "\(words)")
  }

  @Test func watchdogNoticesAStandstill() throws {
    let scene = Scene<MB>(TortureOptions(flavor: .mb), waiters: ["only"])
    scene.waits.begin(0, .poll)
    scene.presence.entered(1)
    Watchdog(scene, standstill: 1, leftBehind: 1000).run()
    let words = try #require(scene.failures.first)
    #expect(
      words.contains("only has waited for 1 seconds in isElapsed, in which 0 grace periods ended"), "\(words)"
    )
    #expect(words.contains("in a section all the time: reader 1"), "\(words)")
  }

  private final class Ended: Sendable {
    let value = Atomic<Bool>(false)
  }

  @Test func gracePeriodThatMissesASectionIsNoticed() {
    let scene = scene()
    scene.presence.entered(0)
    scene.watch(0, .synchronize) { Memb.synchronize() }
    #expect(scene.failures[.sectionErrors] == 1)
    scene.presence.leaves(0)
    scene.watch(0, .synchronize) { Memb.synchronize() }
    #expect(scene.failures[.sectionErrors] == 1)
  }

  @Test func readerNoticesWrongElements() throws {
    let scene = scene { $0.writers = 1 }
    let reader = Reader(scene, index: 0)
    let pool = scene.pools[0]
    let element = try #require(pool.take())
    element.pointer.pointee.fill(1)
    _ = pool.publish(element)
    for _ in 0..<100 { reader.section() }
    #expect(!scene.failures.hasAny)

    element.pointer.pointee.age.store(2, ordering: .relaxed)
    reader.section()
    #expect(scene.failures[.overtaken] > 0)
    #expect(scene.failures[.publicationErrors] == 0)

    // Published before it was filled.
    _ = pool.publish(try #require(pool.take()))
    reader.section()
    #expect(scene.failures[.publicationErrors] > 0)
    #expect(scene.failures[.usedAfterFree] == 0)
  }

  @Test func minimumNamesWhatIsMissing() throws {
    let options = TortureOptions(flavor: .memb)
    var summary = TortureSummary(options: options, seconds: 10, isInterrupted: false, failures: FailureLog())
    #expect(Minimum.complaints(about: summary, options).count > 5)
    summary.gracePeriods = 10_000
    summary.reads = 1_000_000
    summary.ages = [1_000_000, 1000, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    summary.callbacksRun = 10_000
    summary.threads = 1000
    summary.floods = 4
    summary.forks = 30
    summary.waits = Dictionary(uniqueKeysWithValues: Way.allCases.map { ($0.rawValue, 100) })
    #expect(Minimum.complaints(about: summary, options) == [])
    summary.ages[1] = 0
    #expect(
      Minimum.complaints(about: summary, options)
        == ["0 reads of an element that was removed during the section, at least 2 are needed"])
    summary.vacuous = ["something"]
    #expect(summary.verdict == .vacuous)
  }
}
