import Foundation
import Synchronization

/// The open connections: limits their number, and hangs up on all of them at the end.
final class ConnectionSet: Sendable {
  private let limit: Int
  private let open = Mutex(State())
  private let group = DispatchGroup()

  private struct State {
    var sockets: [Int: Int32] = [:]
    var next = 0
    var ended = false
  }

  init(limit: Int) {
    self.limit = limit
  }

  /// Counts a connection in. `EAGAIN` when there are as many as there may be.
  func enter(_ socket: Int32) throws(ControlError) -> Place {
    let id: Int? = open.withLock { state in
      if state.ended || state.sockets.count >= limit { return nil }
      state.next += 1
      state.sockets[state.next] = socket
      group.enter()
      return state.next
    }
    guard let id else { throw ControlError(EAGAIN, "\(limit) clients are connected, which is the limit") }
    return Place(id: id, set: self)
  }

  /// Hangs up on every client. Returns whether they all left within `limit`.
  func endAll(within limit: Duration) -> Bool {
    open.withLock { state in
      state.ended = true
      // Under the lock: a connection leaves before it closes its descriptor.
      for socket in state.sockets.values { shutdown(socket, Int32(SHUT_RDWR)) }
    }
    return group.wait(timeout: .now() + limit / .seconds(1)) == .success
  }

  /// One connection's right to be there.
  struct Place: Sendable {
    fileprivate let id: Int
    fileprivate let set: ConnectionSet

    /// Once, before the descriptor closes.
    func leave() {
      set.open.withLock { _ = $0.sockets.removeValue(forKey: id) }
      set.group.leave()
    }
  }
}
