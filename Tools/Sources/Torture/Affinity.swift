import CTorture
import Foundation
import Synchronization

/// Moves the threads between processors now and then: a section continues on another processor, and
/// two threads share one.
final class Affinity: Sendable {
  private let threads = Mutex<Set<pid_t>>([])

  /// The processors that this process may use.
  static let processors: [Int32] = {
    var numbers = [Int32](repeating: 0, count: 1024)
    let count = torture_processors(&numbers, numbers.count)
    return count == 0 ? [0] : Array(numbers.prefix(count))
  }()

  /// Allows the calling thread to be moved while `body` runs.
  func including<Result>(_ body: () -> Result) -> Result {
    let thread = torture_thread_id()
    threads.withLock { _ = $0.insert(thread) }
    // Under the lock that `shuffle` holds: after this thread has ended, another thread may get its
    // number.
    defer { threads.withLock { _ = $0.remove(thread) } }
    return body()
  }

  /// Gives each thread a random set of processors, at least one. Returns the number of threads that
  /// were moved.
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
