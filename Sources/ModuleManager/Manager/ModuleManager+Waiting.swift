internal import Bigref
internal import Glibc
internal import Quiescence

/// How callers wait for the answers of their requests.
extension ModuleManager {
  typealias Completion<Success> = @Sendable (Result<Success, ModuleError>) -> Void

  /// Why the calling thread must not wait for the manager; nil when it may.
  func deadlock(_ subject: String) -> ModuleError? {
    if Memb.isInside || QSBR.isInside || MB.isInside || Bulletproof.isInside {
      return ModuleError(
        subject, EDEADLK, "requested inside a read-side critical section, for which it would wait")
    }
    if queue.isCurrent || queue.isInsideCall {
      return ModuleError(subject, EDEADLK, "requested by a module's init or exit, for which it would wait")
    }
    if ServiceThread.isReclaiming {
      return ModuleError(subject, EDEADLK, "requested by a retired callback, for which it would wait")
    }
    return nil
  }

  /// Blocks until there is an answer. When `limit` is over, or `cancellation` was cancelled, the
  /// request's ``RequestEnd`` sees to it that there is one.
  func block<Success: Sendable>(
    _ subject: String, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil,
    _ start: (RequestEnd, @escaping Completion<Success>) -> Void
  ) throws(ModuleError) -> Success {
    if let error = deadlock(subject) { throw error }
    let end = RequestEnd(queue)
    let entry = cancellation?.add { end.request(EINTR, "the wait was cancelled") }
    defer { if let entry { cancellation?.remove(entry) } }
    let answer = Answer<Success>()
    start(end, answering(end) { answer.set($0) })
    if let limit, !answer.isSet(within: limit) { end.request(ETIMEDOUT, Self.overdue(limit)) }
    return try answer.wait().get()
  }

  /// Suspends until there is an answer; see the blocking form. The end of the task ends the wait as
  /// well.
  func suspend<Success: Sendable>(
    _ subject: String, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil,
    _ start: @escaping (RequestEnd, @escaping Completion<Success>) -> Void
  ) async throws(ModuleError) -> Success {
    if let error = deadlock(subject) { throw error }
    let end = RequestEnd(queue)
    let entry = cancellation?.add { end.request(EINTR, "the wait was cancelled") }
    defer { if let entry { cancellation?.remove(entry) } }
    let timer = limit.map { limit in
      Task {
        try await Task.sleep(for: limit)
        end.request(ETIMEDOUT, Self.overdue(limit))
      }
    }
    defer { timer?.cancel() }
    let result = await withTaskCancellationHandler {
      await suspended { (continuation: Suspended<Result<Success, ModuleError>>) in
        start(end, self.answering(end) { continuation.resume(returning: $0) })
      }
    } onCancel: {
      end.request(ECANCELED, "the task that waited was cancelled")
    }
    return try result.get()
  }

  /// The first answer counts. What the request's end does, its server attaches.
  private func answering<Success: Sendable>(
    _ end: RequestEnd, _ done: @escaping Completion<Success>
  ) -> Completion<Success> {
    let once = Once()
    return {
      if !once.take() { return }
      end.isAnswered()
      done($0)
    }
  }

  private static func overdue(_ limit: Duration) -> String { "waited \(limit)" }

  /// Begins a request on the queue; answers `done` when there is no thread for it.
  func begin<Success>(
    _ subject: String, _ end: RequestEnd, done: @escaping Completion<Success>,
    _ job: @escaping ModuleQueue.Job
  ) {
    let error = end.begin(job)
    if error != 0 { done(.failure(ModuleError(subject, error, "no thread for the module manager"))) }
  }
}

/// The answer that a blocked thread waits for.
private final class Answer<Success: Sendable>: Sendable {
  private let parker = Parker()
  private let result = Locked<Result<Success, ModuleError>?>(nil)

  func set(_ value: Result<Success, ModuleError>) {
    result.withLock { $0 = value }
    parker.open()
  }

  func isSet(within limit: Duration) -> Bool { parker.wait(for: limit) }

  func wait() -> Result<Success, ModuleError> {
    parker.wait()
    // Set before the parker was opened.
    return result.withLock { $0! }
  }
}
