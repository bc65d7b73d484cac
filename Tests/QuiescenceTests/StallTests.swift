import ProcessEdges
import Quiescence
import TestSupport
import Testing

/// A report names the reader that holds up a grace period; the next one comes after twice the time.
@Suite(.exclusive, .serialized) struct StallTests {
  @Test(arguments: FlavorCase.all)
  func stalledReaderIsNamed(_ flavor: FlavorCase) async throws {
    let reports = Shared(Locked([StallReport]()))
    let third = Parker()
    let name = "\(flavor.type)"
    let limit = StallReports.limit
    StallReports.limit = nil
    StallReports.setHandler { report in
      // On a busy machine other tests' readers can be slow as well.
      guard report.flavor == name,
        report.readers.contains(where: { $0.name == "dawdler" && $0.isAsleep == true })
      else { return }
      let count = reports.value.withLock { reports in
        reports.append(report)
        return reports.count
      }
      if count == 3 { third.open() }
    }
    defer {
      StallReports.setHandler(nil)
      StallReports.limit = limit
    }
    let before = flavor.type.statistics.stalls
    let id = await stall(flavor.type, until: third)
    let seen = reports.value.withLock { $0 }
    #expect(flavor.type.statistics.stalls - before >= 3)
    for (earlier, later) in zip(seen, seen.dropFirst()) where later.duration > earlier.duration {
      #expect(later.duration >= earlier.duration * 2)
    }
    #expect(seen[0].duration >= StallReports.threshold)
    for report in seen.prefix(3) {
      #expect(report.readers.contains { $0.id == Int32(id) && $0.name == "dawdler" })
      #expect(report.description.contains("dawdler (\(id)) asleep"))
    }
  }

  /// Holds up a grace period; returns the id of the thread that did.
  private func stall<F: Flavor>(_: F.Type, until enough: Parker) async -> Int {
    await onThread {
      let leave = Parker()
      let inside = Parker()
      let id = Counter()
      _ = ServiceThread.start(named: "dawdler") {
        id.add(Int(ServiceThread.currentID))
        F.readAnywhere {
          inside.open()
          leave.wait()
        }
      }
      inside.wait()
      let gracePeriod = F.startGracePeriod()
      enough.wait()
      leave.open()
      while !gracePeriod.isElapsed { Processor.yield() }
      return id.value
    }
  }

  /// The system refuses the monitor's thread at the first grace period, and gives it later.
  @Test func monitorComesBackAfterItsThreadWasRefused() async {
    await #expect(processExitsWith: .success) {
      await onThread {
        call_without_threads(
          { _ in
            for _ in 0..<3 { Memb.synchronize() }
            precondition(Memb.statistics.gracePeriods == 3)
          }, nil)
        let reported = Parker(), inside = Parker(), leave = Parker()
        StallReports.setHandler { _ in reported.open() }
        _ = ServiceThread.start(named: "dawdler") {
          Memb.read { _ in
            inside.open()
            leave.wait()
          }
        }
        inside.wait()
        // Not at once: no thread is asked for again before the threshold has passed.
        while Memb.statistics.stalls == 0 {
          let gracePeriods = Memb.statistics.gracePeriods
          MB.synchronize()
          precondition(Memb.statistics.gracePeriods == gracePeriods)
          _ = Memb.startGracePeriod()
        }
        reported.wait()
        leave.open()
        Memb.synchronize()
      }
    }
  }

  /// The reports of a stalled grace period become rare. Those of one that begins later do not wait
  /// for them.
  @Test func longStallDoesNotDelayReportsOfOthers() async {
    await #expect(processExitsWith: .success) {
      let long = Shared(SleepableDomain("long")), short = Shared(SleepableDomain("short"))
      let leave = AsyncEvent(), inside = Counter()
      let readers = [long, short].map { domain in
        Task {
          await domain.value.read { _ in
            inside.add(1)
            await leave.wait()
          }
        }
      }
      while inside.value < 2 { await Task.yield() }
      let first = Task { await long.value.synchronize() }
      // After 10, 20, 40, …, 1280 ms: the next one is due more than a second later.
      while long.value.statistics.stalls < 8 { try? await Task.sleep(for: .milliseconds(1)) }
      let second = Task { await short.value.synchronize() }
      while short.value.statistics.stalls == 0 { try? await Task.sleep(for: .milliseconds(1)) }
      precondition(long.value.statistics.stalls == 8, "the report of another stall came first")
      leave.open()
      for task in readers + [first, second] { await task.value }
    }
  }

  /// Sections of a domain belong to no thread: they are counted.
  @Test func sectionsOfADomainAreCounted() async {
    let reports = Shared(Locked([StallReport]()))
    let second = AsyncEvent()
    StallReports.setHandler { report in
      guard report.flavor == "SleepableDomain \"dawdling\"" else { return }
      if reports.value.withLock({
        $0.append(report); return $0.count
      }) == 2 {
        second.open()
      }
    }
    defer { StallReports.setHandler(nil) }
    let domain = Shared(SleepableDomain("dawdling"))
    let inside = Counter()
    let readers = (0..<3).map { _ in
      Task {
        await domain.value.read { _ in
          inside.add(1)
          await second.wait()
        }
      }
    }
    while inside.value < 3 { await Task.yield() }
    await domain.value.synchronize()
    for reader in readers { await reader.value }
    let report = reports.value.withLock { $0[0] }
    #expect(report.sections == 3 && report.readers.isEmpty)
    #expect(
      report.description.hasPrefix("a grace period of the SleepableDomain \"dawdling\" has waited for "))
    #expect(report.description.hasSuffix(" for 3 sections"))
    #expect(domain.value.statistics.stalls >= 2)
    // Not under way any more.
    let seen = reports.value.withLock { $0.count }
    try? await Task.sleep(for: StallReports.threshold * 3)
    #expect(reports.value.withLock { $0.count } == seen)
  }

  @Test func readersAreCounted() async {
    let inside = Counter()
    let counted = Counter()
    let leave = Parker()
    await onThreads(51) { index in
      if index == 0 {
        while inside.value < 50 { Processor.yield() }
        counted.add(Memb.registeredReaders)
        leave.open()
      } else {
        Memb.read { _ in
          inside.add(1)
          leave.wait()
        }
      }
    }
    // Others come and go meanwhile; these are there.
    #expect(counted.value >= 50)
    // Each leaves at its thread's end, a moment after its last line.
    await onThread { while Memb.registeredReaders >= counted.value { Processor.yield() } }
  }

  @Test func replacedHandlerIsReturned() {
    let first = StallReports.setHandler { _ in }
    #expect(first == nil)
    let second = StallReports.setHandler(nil)
    #expect(second != nil)
    let threshold = StallReports.threshold
    defer { StallReports.threshold = threshold }
    StallReports.threshold = .zero
    #expect(StallReports.threshold == .milliseconds(1))
  }
}
