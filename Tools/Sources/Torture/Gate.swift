import Foundation
import Synchronization

/// Where everybody stops together, and goes on together.
final class Gate: Sendable {
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

  /// Blocks while it is closed. Outside of every section.
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
