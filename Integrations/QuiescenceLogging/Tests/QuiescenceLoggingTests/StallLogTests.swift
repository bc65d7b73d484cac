import InMemoryLogging
import Logging
import Quiescence
import QuiescenceLogging
import Synchronization
import Testing

/// Reports of stalls as log lines. One test at a time: the handler is one of the process.
@Suite(.serialized) struct StallLogTests {
  private func log(_ report: StallReport, level: Logger.Level = .warning) -> [InMemoryLogHandler.Entry] {
    let handler = InMemoryLogHandler()
    StallReports.log(to: Logger(label: "test", factory: { _ in handler }), level: level)
    StallReports.setHandler(nil)?(report)
    return handler.entries
  }

  @Test func readersAreMetadata() {
    let entries = log(
      StallReport(
        flavor: "Memb", duration: .milliseconds(12),
        readers: [.init(id: 7, name: "worker", isAsleep: true), .init(id: 8, name: "other")], leftOut: 3))
    #expect(entries.count == 1)
    #expect(entries[0].level == .warning)
    #expect(entries[0].message == "a grace period waits for readers that stay inside their sections")
    #expect(
      entries[0].metadata == [
        "flavor": "Memb", "cause": "readers", "milliseconds": "12",
        "readers": ["worker (7) asleep", "other (8)"], "left-out": "3",
      ])
  }

  @Test func sectionsAreMetadata() {
    let entries = log(
      StallReport(flavor: "SleepableDomain \"a\"", duration: .seconds(2), readers: [], sections: 5))
    #expect(
      entries[0].metadata == [
        "flavor": "SleepableDomain \"a\"", "cause": "sections", "milliseconds": "2000", "sections": "5",
      ])
  }

  @Test func everyCauseHasItsMessageAndLevel() {
    let causes: [StallReport.Cause] = [.preemption, .foreign, .unknown]
    let entries = causes.map {
      log(StallReport(flavor: "MB", duration: .zero, readers: [], cause: $0), level: .error)[0]
    }
    #expect(entries.map(\.level) == [.info, .error, .error])
    #expect(Set(entries.map { "\($0.message)" }).count == 3)
  }

  @Test func nextHandlerGetsTheReportToo() {
    let seen = Mutex<[String]>([])
    StallReports.log(to: Logger(label: "test", factory: { _ in InMemoryLogHandler() })) { report in
      seen.withLock { $0.append(report.flavor) }
    }
    StallReports.setHandler(nil)?(StallReport(flavor: "QSBR", duration: .zero, readers: []))
    #expect(seen.withLock { $0 } == ["QSBR"])
  }

  /// The example of the README, with a reader that stalls.
  @Test func stalledReaderIsLogged() async throws {
    let handler = InMemoryLogHandler()
    reportStalls(to: Logger(label: "server", factory: { _ in handler }))
    defer { StallReports.setHandler(nil) }
    let domain = SleepableDomain("table")
    let isInside = AsyncStream<Void>.makeStream(), mayLeave = AsyncStream<Void>.makeStream()
    let core = SharedDomain(domain)
    let reader = Task {
      await core.domain.read { _ in
        isInside.continuation.finish()
        for await _ in mayLeave.stream {}
      }
    }
    for await _ in isInside.stream {}
    let wait = Task { await core.domain.synchronize() }
    while handler.entries.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
    mayLeave.continuation.finish()
    await reader.value
    await wait.value
    let entry = try #require(handler.entries.first)
    #expect(entry.metadata["flavor"] == "SleepableDomain \"table\"" && entry.metadata["sections"] == "1")
  }
}

/// Lends a domain to tasks.
private final class SharedDomain: Sendable {
  let domain: SleepableDomain
  init(_ domain: consuming SleepableDomain) { self.domain = domain }
}
