import Dispatch
import Foundation
import Synchronization

/// Work on a thread of its own that is waited for no longer than the caller likes.
package final class TimedWork<Result: Sendable>: Sendable {
  private let outcome = Mutex<Result?>(nil)
  private let end = DispatchSemaphore(value: 0)

  /// Starts it. It goes on when it is waited for no longer.
  package init(named name: String, _ body: @escaping @Sendable () -> Result) {
    Thread.start(named: name) { [self] in
      let result = body()
      outcome.withLock { $0 = result }
      end.signal()
    }
  }

  /// What it came to; nil when it has not ended within `limit`. Once.
  package func result(within limit: Duration) -> Result? {
    if end.wait(timeout: .now() + limit / .seconds(1)) == .timedOut { return nil }
    return outcome.withLock { $0 }
  }
}
