package import Bigref
internal import Glibc
internal import Quiescence

/// Many readers or one writer, first come, first served. It knows its holders: a thread that asks
/// for what it holds already gets an error, instead of waiting for itself.
///
/// Waiting readers queue behind a waiting writer; otherwise a stream of readers could keep the
/// writer out for ever. Therefore a second acquisition by a reader must be refused: it would queue
/// behind a writer that waits for this same reader.
package final class ReadWriteSemaphore: Sendable {
  private struct Waiter {
    let thread: UInt
    let isWriter: Bool
    let event: Primitive.Event
  }

  private struct State {
    var readers: Set<UInt> = []
    var writer: UInt?
    var queue: [Waiter] = []
  }

  private let state = Primitive.Guarded(State())

  package init() {}

  /// Returns 0, or `EDEADLK` if the calling thread holds the semaphore already. Blocks.
  package func acquireRead() -> Int32 { acquire(isWriter: false, nil) }

  /// Returns 0, `EDEADLK` if the calling thread holds the semaphore already, or `EINTR` if the wait
  /// was cancelled. Blocks.
  package func acquireWrite(cancelledBy cancellation: WaitCancellation? = nil) -> Int32 {
    acquire(isWriter: true, cancellation)
  }

  package func releaseRead() {
    let admitted = state.withLock { state in
      let wasReading = state.readers.remove(Self.thread) != nil
      precondition(wasReading, "a semaphore was released by a thread that does not read")
      return admit(&state)
    }
    for event in admitted { event.open() }
  }

  package func releaseWrite() {
    let admitted = state.withLock { state in
      precondition(state.writer == Self.thread, "a semaphore was released by a thread that does not write")
      state.writer = nil
      return admit(&state)
    }
    for event in admitted { event.open() }
  }

  private static var thread: UInt { UInt(pthread_self()) }

  private func acquire(isWriter: Bool, _ cancellation: WaitCancellation?) -> Int32 {
    let thread = Self.thread
    let (error, waiter) = state.withLock { state -> (Int32, Waiter?) in
      if state.readers.contains(thread) || state.writer == thread { return (EDEADLK, nil) }
      let waiter = Waiter(thread: thread, isWriter: isWriter, event: Primitive.Event())
      state.queue.append(waiter)
      // Opens at most the new waiter's event: the waiters before it could not be admitted before.
      for event in admit(&state) { event.open() }
      return (0, waiter)
    }
    guard let waiter else { return error }
    cancellation?.add(waiter.event)
    waiter.event.wait()
    cancellation?.remove(waiter.event)
    return state.withLock { state in
      guard let index = state.queue.firstIndex(where: { $0.event === waiter.event }) else { return 0 }
      // Still in the queue: the cancellation opened the event. The waiters behind this one may be
      // admissible now.
      state.queue.remove(at: index)
      for event in admit(&state) { event.open() }
      return EINTR
    }
  }

  /// Removes the waiters that can be admitted now from the head of the queue.
  private func admit(_ state: inout State) -> [Primitive.Event] {
    var admitted: [Primitive.Event] = []
    while let next = state.queue.first, state.writer == nil, !next.isWriter || state.readers.isEmpty {
      if next.isWriter { state.writer = next.thread } else { state.readers.insert(next.thread) }
      state.queue.removeFirst()
      admitted.append(next.event)
    }
    return admitted
  }
}
