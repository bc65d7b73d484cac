import ControlProtocol
import Foundation
import Synchronization

/// The open connections: limits their number, learns when clients go, and hangs up on all of them
/// at the end.
final class ConnectionSet: Sendable {
  private let limit: Int
  private let state = Mutex(State())
  private let group = DispatchGroup()

  private struct State {
    /// The connections whose clients have not gone. Only these take places.
    var open: [Int: Member] = [:]
    var next = 0
    var isEnded = false
  }

  private struct Member {
    let socket: Int32
    let hangUp: @Sendable () -> Void
  }

  init(limit: Int) {
    self.limit = limit
  }

  /// Counts a connection in. `EAGAIN` when there are as many as there may be.
  ///
  /// - Parameter hangUp: ends the request that the connection's thread carries out; called when the
  ///   client has gone.
  func enter(_ socket: Int32, hangUp: @escaping @Sendable () -> Void) throws(ControlError) -> Place {
    let id: Int? = state.withLock { state in
      if state.isEnded || state.open.count >= limit { return nil }
      state.next += 1
      state.open[state.next] = Member(socket: socket, hangUp: hangUp)
      group.enter()
      return state.next
    }
    guard let id else { throw ControlError(EAGAIN, "\(limit) clients are connected, which is the limit") }
    return Place(id: id, set: self)
  }

  /// What to poll: a socket reports `POLLHUP` when its client has closed it.
  var sockets: [(id: Int, socket: Int32)] {
    state.withLock { state in state.open.map { ($0.key, $0.value.socket) } }
  }

  /// The client has gone: its place is free from here on, and its request ends. Its thread may need
  /// a while yet.
  func clientHasGone(_ id: Int) {
    let member = state.withLock { $0.open.removeValue(forKey: id) }
    member?.hangUp()
  }

  /// Hangs up on every client. Returns whether all threads ended within `limit`.
  func endAll(within limit: Duration) -> Bool {
    let members = state.withLock { state in
      state.isEnded = true
      // Under the lock: a connection leaves before it closes its descriptor.
      for member in state.open.values { shutdown(member.socket, Int32(SHUT_RDWR)) }
      return Array(state.open.values)
    }
    for member in members { member.hangUp() }
    return group.wait(timeout: .now() + limit / .seconds(1)) == .success
  }

  /// The place that one connection takes.
  struct Place: Sendable {
    fileprivate let id: Int
    fileprivate let set: ConnectionSet

    /// Once, before the descriptor closes.
    func leave() {
      set.state.withLock { _ = $0.open.removeValue(forKey: id) }
      set.group.leave()
    }
  }
}
