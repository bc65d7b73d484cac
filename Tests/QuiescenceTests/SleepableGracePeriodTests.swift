import TestSupport
import Testing

@testable import Quiescence

/// Waiting for one that is running already.
@Suite struct SleepableGracePeriodTests {
  /// A later section may be left only after the wait: a wait for it too would never end.
  @Test(arguments: [false, true])
  func waitingForTheRunningOneWaitsForNoLaterSection(isAsync: Bool) async {
    let domain = SleepableDomain("running")
    let core = domain.core
    await domain.read { _ in
      let running = domain.startGracePeriod()
      while !domain.isDraining { await Task.yield() }
      let waiter = Task {
        if isAsync { await running.elapsed() } else { await onThread { running.wait() } }
      }
      while true {
        let (current, next) = core.state.withLock { ($0.waiters.count, $0.nextWaiters.count) }
        if current + next > 0 {
          #expect(current == 1 && next == 0)
          return waiter
        }
        await Task.yield()
      }
    }.value
    #expect(domain.statistics.gracePeriods == 1)
    await domain.startGracePeriod().elapsed()
    #expect(domain.statistics.gracePeriods == 2)
  }
}
