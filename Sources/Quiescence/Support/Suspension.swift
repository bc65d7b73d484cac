internal import _QuiescenceShims

/// A task that waits in ``suspended(_:)``. Resume it once.
///
/// Only in the process that it waits in. A forked child has a copy of the code that resumes it, but
/// the task continues in the parent: in the child, its next steps would be done a second time.
package struct Suspended<Value: Sendable>: Sendable {
  private let continuation: UnsafeContinuation<Value, Never>
  private let process = qs_fork_generation()

  fileprivate init(_ continuation: UnsafeContinuation<Value, Never>) { self.continuation = continuation }

  /// Does nothing in a child that was forked while the task waited.
  package func resume(returning value: Value) {
    if process == qs_fork_generation() { continuation.resume(returning: value) }
  }
}

extension Suspended where Value == Void {
  /// As ``resume(returning:)``.
  package func resume() { resume(returning: ()) }
}

/// `withUnsafeContinuation`, for continuations that another thread resumes. The thread sanitizer
/// sees the order of the two threads.
package func suspended<Value: Sendable>(_ body: (Suspended<Value>) -> Void) async -> Value {
  let value = await withUnsafeContinuation { body(Suspended($0)) }
  qs_task_resumed()
  return value
}
