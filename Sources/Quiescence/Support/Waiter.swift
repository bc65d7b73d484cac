/// A waiter for a one-time event: a suspended task, a blocked thread, or a closure to call.
///
/// In a forked child, the parent's tasks and threads do not exist: see ``Suspended``. The fork
/// handlers do not release waiters: the release of a closure could destroy what it captures under
/// this library's locks, and possibly behind a lock of a thread that the child does not have.
package enum Waiter: Sendable {
  case task(Suspended<Void>)
  case thread(Parker)
  case call(@Sendable () -> Void)

  package func resume() {
    switch self {
    case .task(let task): task.resume()
    case .thread(let parker): parker.open()
    case .call(let body): body()
    }
  }
}
