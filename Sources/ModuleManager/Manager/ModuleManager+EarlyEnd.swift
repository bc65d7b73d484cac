internal import Bigref
internal import Glibc
internal import Quiescence

/// Requests whose wait may be ended before its time.
extension ModuleManager {
  /// Blocks until there is an answer. When `limit` is over, or `cancellation` was cancelled, the request's ``EarlyEnd`` says so; whoever
  /// serves it sees to it that there is an answer soon.
  func block<Success: Sendable>(
    _ subject: String, within limit: Duration?, cancelledBy cancellation: WaitCancellation?,
    _ start: (EarlyEnd, @escaping Completion<Success>) -> Void
  ) throws(ModuleError) -> Success {
    if let error = deadlock(subject) { throw error }
    let end = EarlyEnd()
    let entry = cancellation?.add { end.request(EINTR, "the wait was cancelled") }
    defer { if let entry { cancellation?.remove(entry) } }
    let answer = Answer<Success>()
    start(end) { answer.set($0) }
    if let limit, !answer.isSet(within: limit) { end.request(ETIMEDOUT, Self.overdue(limit)) }
    return try answer.wait().get()
  }

  /// Suspends until there is an answer; see the blocking form. The end of the task ends the wait as well.
  func suspend<Success: Sendable>(
    _ subject: String, within limit: Duration?, cancelledBy cancellation: WaitCancellation?,
    _ start: @escaping (EarlyEnd, @escaping Completion<Success>) -> Void
  ) async throws(ModuleError) -> Success {
    if let error = deadlock(subject) { throw error }
    let end = EarlyEnd()
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
        start(end) { continuation.resume(returning: $0) }
      }
    } onCancel: {
      end.request(ECANCELED, "the task that waited was cancelled")
    }
    return try result.get()
  }

  private static func overdue(_ limit: Duration) -> String { "waited \(limit)" }
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
