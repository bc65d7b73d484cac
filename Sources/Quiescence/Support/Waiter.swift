/// A waiter for a one-time event: a suspended task, a blocked thread, or a closure to call.
///
/// In a forked child, the parent's waiters do not exist. They are neither resumed nor released: the
/// release of a closure could destroy what it captures, inside the fork handler, under this
/// library's locks, and possibly behind a lock of a thread that the child does not have.
package enum Waiter: Sendable {
  case task(UnsafeContinuation<Void, Never>)
  case thread(Parker)
  case call(@Sendable () -> Void)

  package func resume() {
    switch self {
    case .task(let continuation): continuation.resume()
    case .thread(let parker): parker.open()
    case .call(let body): body()
    }
  }
}
