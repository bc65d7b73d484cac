import Foundation
import Relay

/// What a host's counters are, as the relay counts them.
public typealias HostStatistics = RelayStatistics

/// What the control connection can ask of a host.
///
/// Called on the connections' threads, on many at once. A call may block; only its own client waits.
public protocol ControlService: Sendable {
  /// Loads by name (from the host's directory) or by absolute path.
  func insmod(_ module: String) throws(ControlError) -> InsmodReply

  /// Unloads, or throws `EBUSY` and leaves the module as it was.
  func rmmod(_ module: String) throws(ControlError) -> RmmodReply

  /// Unloads as soon as the last user has let go.
  func rmmodWaiting(_ module: String) async throws(ControlError) -> RmmodReply

  /// The modules, oldest first.
  func lsmod() -> [ModuleRow]

  /// The relay's counters.
  func stat() -> HostStatistics

  /// The names that can be opened.
  func objects() -> [String]

  /// Opens a named object, whose module stays loaded until it is closed.
  func open(_ object: String, holder: String) throws(ControlError) -> any ControlObject
}

/// A named object that a client holds open.
public protocol ControlObject: Sendable {
  /// The module that publishes it.
  var module: String { get }

  /// At most `capacity` bytes from `offset` on; none at the end.
  func read(from offset: UInt64, upTo capacity: Int) throws(ControlError) -> [UInt8]

  /// Lets go; idempotent.
  func close()
}
