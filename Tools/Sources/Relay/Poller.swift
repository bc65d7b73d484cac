package import CRelay
internal import Glibc

/// An epoll instance, and the buffer for its events.
package struct Poller: ~Copyable {
  private let descriptor: Int32
  private let events: UnsafeMutablePointer<relay_event>
  private static let capacity = 64

  package init() throws(RelayError) {
    descriptor = relay_poll_create()
    events = .allocate(capacity: Self.capacity)
    events.initialize(repeating: relay_event(), count: Self.capacity)
    if descriptor < 0 { throw RelayError("epoll", -descriptor, "cannot wait for sockets") }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    events.deallocate()
  }

  /// Adds `socket`, watched for reading. Returns 0 or a negative errno.
  package func add(_ socket: Int32, token: UInt64) -> Int32 {
    relay_poll_watch(descriptor, socket, token, true, false, true)
  }

  /// Like `add(_:token:)`, but throws. `subject` names the socket in the error.
  package func add(_ socket: Int32, token: UInt64, for subject: String) throws(RelayError) {
    let error = add(socket, token: token)
    if error != 0 { throw RelayError(subject, -error, "cannot wait for its sockets") }
  }

  /// Changes what is watched. Returns 0 or a negative errno; it fails only for a descriptor that
  /// was not added.
  @discardableResult
  package func watch(_ socket: Int32, token: UInt64, readable: Bool, writable: Bool) -> Int32 {
    relay_poll_watch(descriptor, socket, token, readable, writable, false)
  }

  /// Blocks until an event, for at most `milliseconds`; -1 waits without a limit. Returns the
  /// number of events.
  package func wait(milliseconds: Int32) -> Int {
    max(0, Int(relay_poll_wait(descriptor, events, Int32(Self.capacity), milliseconds)))
  }

  package subscript(index: Int) -> relay_event { events[index] }
}
