internal import _QuiescenceShims

/// `withUnsafeContinuation` for what a thread resumes, such that the thread sanitizer follows.
package func suspended<Value: Sendable>(
  _ body: (UnsafeContinuation<Value, Never>) -> Void
) async -> Value {
  let value = await withUnsafeContinuation(body)
  qs_task_resumed()
  return value
}
