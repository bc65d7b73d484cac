import CControl
import ControlProtocol
import Foundation

/// An event that stays: once rung, it lets every present and later waiter through.
final class Bell: Sendable {
  let descriptor: Int32

  /// Fails only where the process or the system has no descriptor left.
  init() throws(ControlError) {
    descriptor = control_bell()
    if descriptor < 0 { throw ControlError(-descriptor, "no descriptor for an event") }
  }

  deinit {
    close(descriptor)
  }

  func ring() {
    control_ring(descriptor)
  }
}
