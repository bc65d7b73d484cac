import Glibc
internal import Quiescence
import Synchronization

/// Runs `body` on `count` threads of their own, and waits for all of them without blocking the
/// task's thread.
///
/// The threads start together: each waits until all are running.
package func onThreads(_ count: Int = 1, _ body: @escaping @Sendable (Int) -> Void) async {
  let start = Parker()
  let ready = Counter(0)
  await suspended { (continuation: Suspended<Void>) in
    // Resumes the task on a thread that no test has pinned to a processor. Resuming may start a
    // thread of the pool, which would inherit the pinning, and so would every process that is
    // started from there.
    run(named: "test-crew") {
      let left = Counter(count)
      let end = Parker()
      for index in 0..<count {
        run(named: "test-\(index)") {
          if ready.add(1) == count { start.open() }
          start.wait()
          body(index)
          if left.add(-1) == 0 { end.open() }
        }
      }
      if count > 0 { end.wait() }
      continuation.resume()
    }
  }
}

private func run(named name: String, _ body: @escaping @Sendable () -> Void) {
  let error = ServiceThread.start(named: name, body)
  precondition(error == 0, "no thread for a test: errno \(error)")
}

/// Runs `body` on one thread of its own and returns its result.
@discardableResult
package func onThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
  let result = Mutex<Result?>(nil)
  let box = Shared(result)
  await onThreads { _ in
    let value = body()
    box.value.withLock { $0 = value }
  }
  // Not nil: the thread stored it before it ended.
  return box.value.withLock { $0! }
}

/// Runs `body` on `count` threads, and blocks until they have ended, with their destructors.
package func joinThreads(_ count: Int, _ body: @escaping @Sendable () -> Void) {
  let threads = (0..<count).map { _ in
    var thread = pthread_t()
    let error = pthread_create(
      &thread, nil,
      { argument in
        // The argument of this call.
        Unmanaged<Shared<@Sendable () -> Void>>.fromOpaque(argument!).takeRetainedValue().value()
        return nil
      }, Unmanaged.passRetained(Shared(body)).toOpaque())
    precondition(error == 0, "no thread for a test: errno \(error)")
    return thread
  }
  for thread in threads { pthread_join(thread, nil) }
}

/// Lends a noncopyable value to closures.
package final class Shared<Value: ~Copyable & Sendable>: Sendable {
  package let value: Value

  package init(_ value: consuming Value) {
    self.value = value
  }
}

/// A number that threads change atomically.
package final class Counter: Sendable {
  private let count: Atomic<Int>

  package init(_ initial: Int = 0) {
    count = Atomic(initial)
  }

  package var value: Int { count.load(ordering: .sequentiallyConsistent) }

  @discardableResult
  package func add(_ difference: Int) -> Int {
    count.add(difference, ordering: .sequentiallyConsistent).newValue
  }

  /// Replaces `old` by `new`. Returns whether it did.
  package func exchange(from old: Int, to new: Int) -> Bool {
    count.compareExchange(expected: old, desired: new, ordering: .sequentiallyConsistent).exchanged
  }
}

/// Counts how many instances are alive.
package final class Tracked: Sendable {
  private let alive: Counter
  package let value: Int

  package init(_ value: Int, alive: Counter) {
    self.value = value
    self.alive = alive
    alive.add(1)
  }

  /// Keeps the object alive up to this call.
  package func use() {}

  deinit { alive.add(-1) }
}
