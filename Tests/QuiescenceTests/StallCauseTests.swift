import TestSupport
import Testing

@testable import Quiescence

/// Which readers are reported, how they are told apart, and how often the handler is called.
@Suite(.exclusive, .serialized) struct StallCauseTests {
  private func reader(_ id: Int32, asleep: Bool? = false, ran milliseconds: UInt64? = 0) -> ReaderWatch.Seen {
    ReaderWatch.Seen(
      id: id, name: "r\(id)", isAsleep: asleep, processorTime: milliseconds.map { $0 * 1_000_000 })
  }

  /// Mutant: every reader is reported at its first look.
  @Test func preemptedReaderIsNotReported() {
    let watch = Watch()
    for step in 1...50 {
      // It runs for a tenth of a millisecond between two looks.
      let seen = ReaderWatch.Seen(id: 1, name: "r", isAsleep: false, processorTime: UInt64(step) * 100_000)
      #expect(watch.judge([seen], after: .milliseconds(10 * step)) == nil)
    }
  }

  @Test func readerWithoutAProcessorForLongIsReportedAsSuch() throws {
    let watch = Watch()
    #expect(watch.judge([reader(1, ran: 1)], after: .milliseconds(990)) == nil)
    let (cause, readers) = try #require(watch.judge([reader(1, ran: 2)], after: .milliseconds(1000)))
    #expect(cause == .preemption)
    #expect(readers.map(\.processorTime) == [.milliseconds(1)])
    let report = StallReport(flavor: "Memb", duration: .seconds(1), readers: readers, cause: cause)
    #expect(
      report.description
        == "a Memb grace period has waited for 1.0 seconds for readers that wait for a processor: r1 (1)")
  }

  /// Mutant: the processor time of the thread's whole life is compared.
  @Test func runningReaderIsReportedAfterTheThresholdOfProcessorTime() throws {
    let watch = Watch()
    #expect(watch.judge([reader(1, ran: 5000)], after: .milliseconds(10)) == nil)
    #expect(watch.judge([reader(1, ran: 5009)], after: .milliseconds(20)) == nil)
    let (cause, readers) = try #require(watch.judge([reader(1, ran: 5010)], after: .milliseconds(30)))
    #expect(cause == .readers && readers[0].processorTime == .milliseconds(10))
  }

  @Test func sleepingReaderIsReportedAtOnce() throws {
    let watch = Watch()
    let (cause, readers) = try #require(
      watch.judge([reader(1), reader(2, asleep: true)], after: .milliseconds(10)))
    #expect(cause == .readers)
    #expect(readers.map(\.isAsleep) == [false, true])
    let report = StallReport(flavor: "Memb", duration: .milliseconds(10), readers: readers, cause: cause)
    #expect(report.description == "a Memb grace period has waited for 0.01 seconds for r1 (1), r2 (2) asleep")
  }

  /// Mutant: what the kernel does not tell counts as not asleep.
  @Test func readerOfWhichTheKernelTellsNothingIsReported() throws {
    let watch = Watch()
    let (cause, _) = try #require(
      watch.judge([reader(1, asleep: nil, ran: nil)], after: .milliseconds(10)))
    #expect(cause == .readers)
  }

  /// Mutant: no reader is foreign at the first look.
  @Test func readerThatHasJustLeftIsNotTakenForAForeignOne() throws {
    let watch = Watch()
    #expect(watch.judge([], after: .milliseconds(10)) == nil)
    #expect(watch.judge([reader(1)], after: .milliseconds(20)) == nil)
    #expect(watch.judge([], after: .milliseconds(30)) == nil)
    let (cause, readers) = try #require(watch.judge([], after: .milliseconds(40)))
    #expect(cause == .foreign && readers.isEmpty)
  }

  @Test func everyCauseHasATextOfItsOwn() {
    let causes: [StallReport.Cause] = [.readers, .preemption, .foreign, .unknown, .sections]
    let lines = causes.map { cause in
      StallReport(flavor: "Memb", duration: .zero, readers: [], cause: cause).description
    }
    #expect(Set(lines).count == causes.count)
    #expect(lines[2].hasSuffix(" for a thread that this library did not register"))
    #expect(lines[3].hasSuffix(" for readers of a flavor that is not this library's"))
  }

  /// Mutants: no limit; an interval that begins with each report.
  @Test func handlerGetsNoMoreThanTheLimitInAnInterval() {
    let limit = StallReports.limit
    let handed = Shared(Locked([Int]()))
    StallReports.limit = StallReports.Limit(3, per: .seconds(1))
    StallReports.setHandler { report in
      // Other tests' readers may be slow as well.
      if report.flavor == "limited" { handed.value.withLock { $0.append(report.leftOut) } }
    }
    defer {
      StallReports.setHandler(nil)
      StallReports.limit = limit
    }
    let counter = StallCounter()
    let report = StallReport(flavor: "limited", duration: .milliseconds(10), readers: [])
    // Every 100 ms, for three seconds.
    for step in 0..<30 { counter.report(report, at: 1_000_000_000 + UInt64(step) * 100_000_000) }
    #expect(handed.value.withLock { $0 } == [0, 0, 0, 7, 0, 0, 7, 0, 0])
    #expect(counter.count == 30)
  }

  /// A thread that runs inside its section, and is not asleep.
  @Test func runningReaderIsReportedWithItsProcessorTime() async {
    let limit = StallReports.limit
    StallReports.limit = nil
    let seen = Shared(Locked(nil as StallReport.Reader?)), isReported = Parker(), isInside = Parker()
    StallReports.setHandler { report in
      guard report.cause == .readers, let reader = report.readers.first(where: { $0.name == "runner" }),
        (reader.processorTime ?? .zero) > .zero
      else { return }
      seen.value.withLock { $0 = $0 ?? reader }
      isReported.open()
    }
    defer {
      StallReports.setHandler(nil)
      StallReports.limit = limit
    }
    await onThread {
      _ = ServiceThread.start(named: "runner") {
        Memb.read { _ in
          isInside.open()
          while !isReported.isOpen {}
        }
      }
      isInside.wait()
      Memb.synchronize()
    }
    let reader = seen.value.withLock { $0 }
    #expect(reader?.isAsleep == false)
    #expect((reader?.processorTime ?? .zero) > .zero)
  }
}

/// A watch that a macro may call: its arguments cannot change variables.
private final class Watch {
  private var watch = ReaderWatch()

  func judge(
    _ found: [ReaderWatch.Seen], after duration: Duration
  ) -> (StallReport.Cause, [StallReport.Reader])? {
    watch.judge(found, after: duration)
  }
}
