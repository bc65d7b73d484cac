import CPeers
import Foundation
import Synchronization

/// Threads of the benchmark for one round: each on one processor, all started together.
struct PinnedThreads {
  let processors: [Int32]

  /// Runs `body` on `count` threads, and returns what it returned on each. Thread i is on processor i modulo their
  /// number. `body` gets a barrier that all of them pass together.
  func run<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (_ index: Int, _ start: Barrier) -> Result
  ) throws -> [Result] {
    let crew = try Crew(count, on: processors, body)
    defer { crew.dismiss() }
    return try crew.round()
  }
}

/// Threads that stay for several rounds, and do one whenever they are told to.
///
/// What a thread keeps between its rounds (its queue of retired objects, the memory it has touched) is warm, as it is
/// in a program that runs for longer than a moment.
final class Crew<Result: Sendable> {
  private let shared: Shared
  private var threads: [Thread] = []

  private final class Shared: Sendable {
    /// Passed by the threads and the caller, at the beginning and at the end of a round.
    let rounds: Barrier
    let isOver = Atomic(false)
    let state: Mutex<(results: [Result?], error: Int32)>

    init(_ count: Int) {
      rounds = Barrier(count + 1)
      state = Mutex((Array(repeating: nil, count: count), 0))
    }
  }

  /// Thread i runs on processor i modulo their number. `body` gets a barrier that all of them pass together.
  init(
    _ count: Int, on processors: [Int32],
    _ body: @escaping @Sendable (_ index: Int, _ start: Barrier) -> Result
  ) throws {
    let shared = Shared(count)
    self.shared = shared
    let start = Barrier(count)
    // A thread that cannot be started would leave the others at their barrier: all or none.
    let gate = Gate()
    do {
      for index in 0..<count {
        threads.append(
          try Thread {
            if !gate.wait() { return }
            let error = peer_pin(processors[index % processors.count])
            if error != 0 { shared.state.withLock { $0.error = error } }
            while true {
              shared.rounds.wait()
              if shared.isOver.load(ordering: .acquiring) { return }
              let result = body(index, start)
              shared.state.withLock { $0.results[index] = result }
              shared.rounds.wait()
            }
          })
      }
    } catch {
      gate.open(false)
      for thread in threads { thread.join() }
      throw error
    }
    gate.open(true)
  }

  /// One round of all of them.
  func round() throws -> [Result] {
    shared.rounds.wait()
    shared.rounds.wait()
    let (results, error) = shared.state.withLock { $0 }
    if error != 0 { throw MeasurementError.pinning(error) }
    // Each thread set its own before the second barrier.
    return results.map { $0! }
  }

  /// The threads end.
  func dismiss() {
    shared.isOver.store(true, ordering: .releasing)
    shared.rounds.wait()
    for thread in threads { thread.join() }
    threads = []
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
