/// Who waits for something that happens once: a suspended task, a blocked thread, or a call to make.
///
/// In a forked child those who waited in the parent are gone. They are neither resumed nor released: the last reference to what a
/// call holds would run its end, in the fork's handler, under this library's locks and perhaps behind one of a thread that is gone.
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
