internal import CRelay
internal import Glibc

/// Wakes a thread that waits on the descriptor. The descriptor stays readable from then on.
package struct Doorbell: ~Copyable, Sendable {
  package let descriptor: Int32

  package init() throws(RelayError) {
    descriptor = relay_bell_create()
    if descriptor < 0 { throw RelayError("event", -descriptor, "no event descriptor") }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Any thread; also in signal handlers.
  package func ring() { relay_bell_ring(descriptor) }
}
