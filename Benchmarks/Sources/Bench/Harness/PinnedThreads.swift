import CPeers
import Foundation
import Synchronization

/// Threads for one round: each pinned to a processor, all started together.
struct PinnedThreads {
  let processors: [Int32]

  /// Runs `body` on `count` threads, and returns the results. Thread i runs on processor i modulo
  /// the number of processors. `body` receives a barrier for all threads.
  func run<Result: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (_ index: Int, _ start: Barrier) -> Result
  ) throws -> [Result] {
    let crew = try Crew(count, on: processors, body)
    defer { crew.dismiss() }
    return try crew.round()
  }
}

/// Threads that live for several rounds.
///
/// What a thread keeps between rounds (its queue of retired objects, the memory that it has
/// touched) is warm, as in a program that runs for longer than a moment.
final class Crew<Result: Sendable> {
  private let shared: Shared
  private var threads: [Thread] = []

  private final class Shared: Sendable {
    /// The threads and the caller pass this barrier at the beginning and at the end of a round.
    let rounds: Barrier
    let isOver = Atomic(false)
    let state: Mutex<(results: [Result?], error: Int32)>

    init(_ count: Int) {
      rounds = Barrier(count + 1)
      state = Mutex((Array(repeating: nil, count: count), 0))
    }
  }

  /// Thread i runs on processor i modulo the number of processors. `body` receives a barrier for
  /// all threads.
  init(
    _ count: Int, on processors: [Int32],
    _ body: @escaping @Sendable (_ index: Int, _ start: Barrier) -> Result
  ) throws {
    let shared = Shared(count)
    self.shared = shared
    let start = Barrier(count)
    // A thread that cannot be started would leave the others at their barrier. So the threads begin
    // only after all of them were started.
    let latch = Latch()
    do {
      for index in 0..<count {
        threads.append(
          try Thread {
            if !latch.wait() { return }
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
      latch.open(false)
      for thread in threads { thread.join() }
      throw error
    }
    latch.open(true)
  }

  /// Runs one round on all threads.
  func round() throws -> [Result] {
    shared.rounds.wait()
    shared.rounds.wait()
    let (results, error) = shared.state.withLock { $0 }
    if error != 0 { throw MeasurementError.pinning(error) }
    // Not nil: each thread has stored its result before the second barrier.
    return results.map { $0! }
  }

  /// Ends the threads.
  func dismiss() {
    shared.isOver.store(true, ordering: .releasing)
    shared.rounds.wait()
    for thread in threads { thread.join() }
    threads = []
  }
}

/// A barrier that threads pass together.
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

/// A joinable thread.
struct Thread {
  private let handle: pthread_t

  /// Starts `body`. Stacks are small, so that a thousand threads take little memory.
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

/// Blocks threads until it is opened, and gives all of them the same answer.
final class Latch: Sendable {
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
