import Foundation
import Synchronization

/// The threads of a run, which start together and are joined together.
final class Crew {
  private var threads: [TortureThread] = []
  private let working = Working()

  private final class Working: Sendable {
    let count = Atomic<Int>(0)
  }

  func start(_ body: @escaping @Sendable () -> Void) throws(TortureError) {
    let working = working
    working.count.add(1, ordering: .relaxed)
    do {
      threads.append(
        try TortureThread {
          body()
          working.count.subtract(1, ordering: .releasing)
        })
    } catch {
      working.count.subtract(1, ordering: .relaxed)
      throw error
    }
  }

  /// The number of threads that have not ended.
  var left: Int { working.count.load(ordering: .acquiring) }

  /// Blocks until all threads have ended.
  func join() {
    for thread in threads { thread.join() }
    threads = []
  }
}
