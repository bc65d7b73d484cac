import CPeers
import Foundation
import Synchronization

/// Threads of the benchmark: each on one processor, all started together.
struct PinnedThreads {
  let processors: [Int32]

  /// Runs `body` on `count` threads, and returns what it returned on each. Thread i is on processor i modulo their
  /// number. `body` gets a barrier that all of them pass together.
  func run<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (_ index: Int, _ start: Barrier) -> Result
  ) throws -> [Result] {
    let start = Barrier(count)
    let outcome = Outcome<Result>(count)
    let processors = processors
    try Thread.runAll(count) { index in
      let error = peer_pin(processors[index % processors.count])
      outcome.set(index, body(index, start), error)
    }
    return try outcome.get()
  }

  private final class Outcome<Result: Sendable>: Sendable {
    private let state: Mutex<(results: [Result?], error: Int32)>

    init(_ count: Int) {
      state = Mutex((Array(repeating: nil, count: count), 0))
    }

    func set(_ index: Int, _ result: Result, _ error: Int32) {
      state.withLock { state in
        state.results[index] = result
        if error != 0 { state.error = error }
      }
    }

    func get() throws -> [Result] {
      let (results, error) = state.withLock { $0 }
      if error != 0 {
        throw MeasurementError("cannot keep a thread on one processor: \(String(cString: strerror(error)))")
      }
      // Each thread set its own before it was joined.
      return results.map { $0! }
    }
  }
}

/// What threads pass together.
final class Barrier: Sendable {
  private nonisolated(unsafe) let barrier: UnsafeMutablePointer<pthread_barrier_t>

  init(_ count: Int) {
    barrier = .allocate(capacity: 1)
    pthread_barrier_init(barrier, nil, UInt32(count))
  }

  deinit {
    pthread_barrier_destroy(barrier)
    barrier.deallocate()
  }

  func wait() { pthread_barrier_wait(barrier) }
}

/// A thread to be joined.
struct Thread {
  private let handle: pthread_t

  /// Starts `body`. Small stacks, so that a thousand of them are nothing.
  init(_ body: @escaping @Sendable () -> Void) throws {
    let start = Unmanaged.passRetained(Start(body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, 256 * 1024)
    var handle = pthread_t()
    let error = pthread_create(
      &handle, &attributes,
      { opaque in
        // The argument of the call below.
        Unmanaged<Start>.fromOpaque(opaque!).takeRetainedValue().body()
        return nil
      }, start.toOpaque())
    pthread_attr_destroy(&attributes)
    if error != 0 {
      start.release()
      throw MeasurementError("cannot start a thread: \(String(cString: strerror(error)))")
    }
    self.handle = handle
  }

  func join() { pthread_join(handle, nil) }

  /// Runs `body` on threads 0 to `count` - 1 and waits for them.
  static func runAll(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
    // A thread that cannot start would leave the others at their barrier: all or none.
    let gate = Gate()
    var threads: [Thread] = []
    do {
      for index in 0..<count { threads.append(try Thread { if gate.wait() { body(index) } }) }
    } catch {
      gate.open(false)
      for thread in threads { thread.join() }
      throw error
    }
    gate.open(true)
    for thread in threads { thread.join() }
  }

  private final class Start: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
      self.body = body
    }
  }
}

/// What threads sleep at until somebody opens it, with an answer for all.
final class Gate: Sendable {
  private let condition = NSCondition()
  private nonisolated(unsafe) var answer: Bool?

  func wait() -> Bool {
    condition.withLock {
      while true {
        if let answer { return answer }
        condition.wait()
      }
    }
  }

  func open(_ answer: Bool = true) {
    condition.withLock {
      self.answer = answer
      condition.broadcast()
    }
  }
}
