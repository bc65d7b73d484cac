internal import _QuiescenceShims

/// `withUnsafeContinuation`, for continuations that another thread resumes. The thread sanitizer
/// sees the order of the two threads.
package func suspended<Value: Sendable>(
  _ body: (UnsafeContinuation<Value, Never>) -> Void
) async -> Value {
  let value = await withUnsafeContinuation(body)
  qs_task_resumed()
  return value
}
