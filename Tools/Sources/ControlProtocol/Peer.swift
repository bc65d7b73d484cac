import CControl
import Foundation

/// The process at the other end of a connection, as the kernel recorded it.
package struct Peer: Sendable, Hashable {
  package let process: Int32
  package let user: UInt32

  /// Asks the kernel.
  package init(of socket: Int32) throws(ControlError) {
    var peer = control_peer()
    let result = control_read_peer(socket, &peer)
    if result < 0 { throw ControlError(-result, "the peer's credentials cannot be read") }
    self.init(process: peer.process, user: peer.user)
  }

  package init(process: Int32, user: UInt32) {
    self.process = process
    self.user = user
  }

  /// Only the user that runs the host may control it: loading a module is running code in it.
  package func check(against user: UInt32) throws(ControlError) {
    if self.user != user {
      throw ControlError(
        EPERM, "process \(process) of user \(self.user) may not control a host of user \(user)")
    }
  }
}
