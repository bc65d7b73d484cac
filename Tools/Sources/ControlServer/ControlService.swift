import Bigref
import ControlProtocol
import Foundation
import Relay

/// What the control connection can ask of a host.
///
/// Called on the connections' threads, on many at once. A call may block; only its own client
/// waits.
public protocol ControlService: Sendable {
  /// Loads by name (from the host's directory) or by absolute path.
  func insmod(
    _ module: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> InsmodReply

  /// Unloads. With the policy `.fail` a module in use stays as it was (`EBUSY`); the others wait
  /// until its users have let go, or throw at the request's end: then the module serves on.
  func rmmod(_ module: String, _ policy: UnloadPolicy, _ end: RequestEnd) throws(ControlError) -> RmmodReply

  /// Unloads several together, those first that need others. One row for each, in the order in
  /// which they ended.
  func rmmod(
    together modules: [String], _ policy: UnloadPolicy, _ end: RequestEnd
  ) throws(ControlError) -> [UnloadRow]

  /// Replaces a loaded module by the version in a file, given as for `insmod`. Until the takeover
  /// the end of the request leaves the old version in service.
  func replace(
    _ module: String, with path: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> ReplaceReply

  /// Sees to it that a module, found by name or alias, is loaded, with what it needs; or with
  /// `dryRun` says what that would be. `EEXIST` when it is loaded already and this should be the
  /// first time.
  func request(
    _ module: String, parameters: [String: String], firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RequestReply

  /// Unloads a module, found by name or alias, and what no module needs then; or
  /// with `dryRun` says what that would be. `ENOENT` when it is not loaded and this should be the
  /// first time.
  func remove(
    _ module: String, firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RemoveReply

  /// Cancels the requests for the module that are under way; returns how many there were. Throws
  /// when what is under way cannot be given up.
  func cancel(_ module: String) throws(ControlError) -> Int

  /// The rules that requests follow.
  func configuration() -> [ModuleRules]

  /// What the parameters of a loaded module hold.
  func parameters(of module: String) throws(ControlError) -> [ParameterRow]

  /// Changes a parameter of a loaded module.
  func set(
    _ parameter: String, of module: String, to value: String, _ end: RequestEnd
  ) throws(ControlError)

  /// The modules, oldest first.
  func lsmod() -> [ModuleRow]

  /// The last modules that have gone, the latest first.
  func unloaded() -> [UnloadedRow]

  /// The relay's counters.
  func stat() -> HostStatistics

  /// The names that can be opened.
  func objects() -> [String]

  /// Opens a named object, whose module stays loaded until it is closed.
  func open(_ object: String, holder: String) throws(ControlError) -> any ControlObject

  /// Follows what happens to the modules from here on, with about so many events in store, of those
  /// that fit the filter.
  func trace(capacity: Int, _ filter: TraceFilterRow) throws(ControlError) -> any ControlTrace
}

/// When a request ends at the latest: at its limit, or when it is cancelled, because its client has
/// gone or another client cancels it.
public struct RequestEnd: Sendable {
  /// How long it may take; nil for as long as it takes.
  public let limit: Duration?
  /// Cancelled from any thread.
  public let cancellation: WaitCancellation

  /// An end that comes after `limit`, if there is one.
  public init(after limit: Duration? = nil, cancellation: WaitCancellation = WaitCancellation()) {
    self.limit = limit
    self.cancellation = cancellation
  }
}

/// A client's place in what is recorded. One thread at a time.
public protocol ControlTrace: AnyObject {
  /// At most `limit` events that were not read yet. Does not wait.
  func read(upTo limit: Int) -> TraceReply

  /// Stops following; idempotent.
  func stop()
}

/// A named object that a client holds open.
public protocol ControlObject: Sendable {
  /// The module that publishes it.
  var module: String { get }

  /// At most `capacity` bytes from `offset` on; none at the end.
  func read(from offset: UInt64, upTo capacity: Int) throws(ControlError) -> [UInt8]

  /// Releases it, at the end of a read that is in progress. Any thread; idempotent.
  func close()
}
