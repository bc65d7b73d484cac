import Synchronization

/// Lines that any thread may append.
package final class Lines: Sendable {
  private let lines = Mutex<[String]>([])

  package init() {}

  package var all: [String] { lines.withLock { $0 } }

  package func add(_ line: String) { lines.withLock { $0.append(line) } }
}
