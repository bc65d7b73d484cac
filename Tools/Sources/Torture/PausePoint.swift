import Foundation
import Synchronization

/// A point where all threads of a run stop together and resume together.
final class PausePoint: Sendable {
  private let closed = Atomic<Bool>(false)
  private let condition = NSCondition()

  var isClosed: Bool { closed.load(ordering: .relaxed) }

  func close() { closed.store(true, ordering: .relaxed) }

  func open() {
    condition.withLock {
      closed.store(false, ordering: .relaxed)
      condition.broadcast()
    }
  }

  /// Blocks while the pause point is closed. The caller must be outside every section.
  @inline(__always)
  func pass() {
    if isClosed { stop() }
  }

  @inline(never)
  private func stop() {
    condition.withLock {
      while isClosed { condition.wait() }
    }
  }
}
