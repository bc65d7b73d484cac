import Dispatch
import Foundation
import Synchronization

/// Work on a thread of its own, for a caller that waits for a limited time.
package final class TimedWork<Result: Sendable>: Sendable {
  private let outcome = Mutex<Result?>(nil)
  private let end = DispatchSemaphore(value: 0)

  /// Starts it. It goes on after the caller's wait has ended.
  package init(named name: String, _ body: @escaping @Sendable () -> Result) {
    Thread.start(named: name) { [self] in
      let result = body()
      outcome.withLock { $0 = result }
      end.signal()
    }
  }

  /// Its result; nil when it has not ended within `limit`. Once.
  package func result(within limit: Duration) -> Result? {
    if end.wait(timeout: .now() + limit / .seconds(1)) == .timedOut { return nil }
    return outcome.withLock { $0 }
  }
}
