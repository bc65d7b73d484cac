package import CRelay
internal import Glibc

/// What a thread waits on: an epoll instance and room for its answers.
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

  /// Starts to watch `socket` for what can be read. Returns 0 or a negative errno.
  package func add(_ socket: Int32, token: UInt64) -> Int32 {
    relay_poll_watch(descriptor, socket, token, true, false, true)
  }

  /// As `add(_:token:)`, for whoever needs an error.
  package func add(_ socket: Int32, token: UInt64, for subject: String) throws(RelayError) {
    let error = add(socket, token: token)
    if error != 0 { throw RelayError(subject, -error, "cannot wait for its sockets") }
  }

  /// Changes what is watched. Returns 0 or a negative errno: only a descriptor that was never added has one.
  @discardableResult
  package func watch(_ socket: Int32, token: UInt64, readable: Bool, writable: Bool) -> Int32 {
    relay_poll_watch(descriptor, socket, token, readable, writable, false)
  }

  /// Blocks until something is ready, at most `milliseconds`, or for ever when that is -1.
  package func wait(milliseconds: Int32) -> Int {
    max(0, Int(relay_poll_wait(descriptor, events, Int32(Self.capacity), milliseconds)))
  }

  package subscript(index: Int) -> relay_event { events[index] }
}
