/// Who waits for something that happens once: a suspended task, a blocked thread, or a call to make.
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
