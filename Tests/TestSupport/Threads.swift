internal import Quiescence
import Synchronization

/// Runs `body` on `count` threads of their own and waits for all of them, without blocking the task's thread.
///
/// Started together: each waits until all are there.
package func onThreads(_ count: Int = 1, _ body: @escaping @Sendable (Int) -> Void) async {
  let start = Parker()
  let ready = Counter(0)
  await suspended { (continuation: UnsafeContinuation<Void, Never>) in
    // Resumes the task on a thread that no test has bound to a processor: resuming may start a thread of the pool, which
    // would be bound as well, and so would every process that is started from there.
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

/// Runs `body` on one thread of its own and returns what it returns.
package func onThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
  let result = Mutex<Result?>(nil)
  let box = Shared(result)
  await onThreads { _ in
    let value = body()
    box.value.withLock { $0 = value }
  }
  // Set by the thread before it ended.
  return box.value.withLock { $0! }
}

/// Lends a noncopyable value to closures.
package final class Shared<Value: ~Copyable & Sendable>: Sendable {
  package let value: Value

  package init(_ value: consuming Value) {
    self.value = value
  }
}

/// A number that threads count on.
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

  /// Returns whether it was `old`, and now is `new`.
  package func exchange(from old: Int, to new: Int) -> Bool {
    count.compareExchange(expected: old, desired: new, ordering: .sequentiallyConsistent).exchanged
  }
}

/// Counts how many of it are alive.
package final class Tracked: Sendable {
  private let alive: Counter
  package let value: Int

  package init(_ value: Int, alive: Counter) {
    self.value = value
    self.alive = alive
    alive.add(1)
  }

  /// Keeps it alive up to here.
  package func use() {}

  deinit { alive.add(-1) }
}
