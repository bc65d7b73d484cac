import CTorture
import Foundation
import Synchronization

/// Where the threads run, changed now and then: a section that moves, and two threads that meet on one processor.
final class Affinity: Sendable {
  private let threads = Mutex<Set<pid_t>>([])

  /// The processors that this process may use.
  static let processors: [Int32] = {
    var numbers = [Int32](repeating: 0, count: 1024)
    let count = torture_processors(&numbers, numbers.count)
    return count == 0 ? [0] : Array(numbers.prefix(count))
  }()

  /// Lets the calling thread be moved about while `body` runs.
  func including<Result>(_ body: () -> Result) -> Result {
    let thread = torture_thread_id()
    threads.withLock { _ = $0.insert(thread) }
    // Under the lock that the moving happens under: the number is another thread's once this one has ended.
    defer { threads.withLock { _ = $0.remove(thread) } }
    return body()
  }

  /// Gives each thread a random choice of processors, at least one. Returns how many were moved.
  func shuffle(_ random: inout Random) -> Int {
    threads.withLock { threads in
      var moved = 0
      for thread in threads {
        let chosen = Self.processors.filter { _ in random.oneIn(2) }
        let allowed = chosen.isEmpty ? Self.processors : chosen
        if torture_set_processors(thread, allowed, allowed.count) == 0 { moved += 1 }
      }
      return moved
    }
  }
}
