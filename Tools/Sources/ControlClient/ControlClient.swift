import CControl
import ControlProtocol
import Foundation

/// A connection to a running host. Many requests, one after the other.
///
/// Calls block the calling thread until the host has answered; what the host refuses is thrown with
/// the host's words. One thread at a time.
public final class ControlClient {
  private let channel: LineChannel
  private let decoder = Wire.decoder()
  private let encoder = Wire.encoder()

  /// Replies may be longer than requests: a table of modules is one line.
  private static let replyLimit = 64 << 20

  /// Connects to the host at `path`: `ENOENT` or `ECONNREFUSED` when there is none, `EPERM` when it
  /// belongs to another user, unless `ofAnyUser`: for the read-only socket of another user's host.
  public init(path: String, ofAnyUser: Bool = false) throws(ControlError) {
    if path.utf8.contains(0) { throw ControlError(EINVAL, "\(path): not a path") }
    let socket = control_socket()
    if socket < 0 { throw ControlError(-socket, "no descriptor for a connection") }
    channel = LineChannel(descriptor: socket, limit: Self.replyLimit)
    let result = control_connect(socket, path, 1)
    if result < 0 { throw Self.error(-result, path) }
    // Another user may have put a socket where this user's host would be.
    let user = try Peer(of: socket).user
    if user != geteuid() && !ofAnyUser {
      throw ControlError(EPERM, "the host at \(path) belongs to user \(user)")
    }
  }

  private static func error(_ code: Int32, _ path: String) -> ControlError {
    switch code {
    case ENOENT, ECONNREFUSED: ControlError(code, "no host at \(path)")
    case ENAMETOOLONG:
      ControlError(code, "\(path): longer than the \(ControlPath.longest) bytes of a socket's address")
    default: ControlError(code, "cannot connect to \(path)")
    }
  }

  /// Loads a module: by name from the host's module directory, or by path when there is a `/` in
  /// it.
  public func insmod(
    _ nameOrPath: String, parameters: [String: String] = [:], seconds: Double? = nil
  ) throws(ControlError) -> InsmodReply {
    try call(.insmod(module: Self.absolute(nameOrPath), parameters: parameters, seconds: seconds))
  }

  /// Unloads a module. Busy: `EBUSY`, or with `wait` an answer once the last user has let go, or
  /// `ETIMEDOUT` after so many seconds.
  public func rmmod(
    _ name: String, _ policy: UnloadPolicy = .fail, seconds: Double? = nil
  ) throws(ControlError) -> RmmodReply {
    try call(.rmmod(.init([name], isTogether: false, policy: policy, seconds: seconds)))
  }

  /// Unloads several modules together, those first that need others. What is wrong with one of them
  /// is in its row.
  public func rmmod(
    together names: [String], _ policy: UnloadPolicy = .fail, seconds: Double? = nil
  ) throws(ControlError) -> [UnloadRow] {
    let reply: UnloadsReply = try call(
      .rmmod(.init(names, isTogether: true, policy: policy, seconds: seconds)))
    return reply.unloads
  }

  /// Replaces a loaded module by the version in a file: by name from the host's module directory,
  /// or by path when there is a `/` in it.
  public func replace(
    _ name: String, with nameOrPath: String, parameters: [String: String] = [:], seconds: Double? = nil
  ) throws(ControlError) -> ReplaceReply {
    try call(
      .replace(.init(name, path: Self.absolute(nameOrPath), parameters: parameters, seconds: seconds)))
  }

  /// Ends the requests of all clients for a module. `ENOENT` when there is none.
  public func cancel(_ name: String) throws(ControlError) -> CancelReply { try call(.cancel(module: name)) }

  /// Sees to it that a module, found by name or alias, is loaded, with what it needs.
  public func request(
    _ name: String, parameters: [String: String] = [:], firstTime: Bool = false, dryRun: Bool = false,
    seconds: Double? = nil
  ) throws(ControlError) -> RequestReply {
    try call(
      .request(
        .init(name, parameters: parameters, firstTime: firstTime, dryRun: dryRun, seconds: seconds)))
  }

  /// What the host's configuration says.
  public func configuration() throws(ControlError) -> [ModuleRules] {
    let reply: ConfigurationReply = try call(.configuration)
    return reply.modules
  }

  /// What the parameters of a loaded module hold.
  public func parameters(of name: String) throws(ControlError) -> [ParameterRow] {
    let reply: ParametersReply = try call(.parameters(module: name))
    return reply.parameters
  }

  /// Changes a parameter of a loaded module.
  public func set(
    _ parameter: String, of name: String, to value: String, seconds: Double? = nil
  ) throws(ControlError) {
    let _: EmptyReply = try call(.set(parameter: parameter, module: name, value: value, seconds: seconds))
  }

  /// Unloads a module, found by name or alias, and what no module needs then.
  public func remove(
    _ name: String, firstTime: Bool = false, dryRun: Bool = false, seconds: Double? = nil
  ) throws(ControlError) -> RemoveReply {
    try call(.remove(.init(name, firstTime: firstTime, dryRun: dryRun, seconds: seconds)))
  }

  /// The modules of the host.
  public func lsmod() throws(ControlError) -> [ModuleRow] {
    let reply: ModulesReply = try call(.lsmod)
    return reply.modules
  }

  /// The last modules that have gone, the latest first.
  public func unloaded() throws(ControlError) -> [UnloadedRow] {
    let reply: UnloadedReply = try call(.unloaded)
    return reply.unloaded
  }

  /// The relay's counters.
  public func stat() throws(ControlError) -> HostStatistics {
    let reply: StatisticsReply = try call(.stat)
    return reply.statistics
  }

  /// The names that can be opened.
  public func objects() throws(ControlError) -> [String] {
    let reply: ObjectsReply = try call(.objects)
    return reply.objects
  }

  /// Opens an object, and so keeps its module loaded until ``close(_:)`` or the end of the
  /// connection.
  public func open(_ object: String) throws(ControlError) -> OpenReply { try call(.open(object: object)) }

  /// Some bytes from `offset` on; none at the end.
  public func read(_ object: OpenReply, from offset: UInt64) throws(ControlError) -> Data {
    let reply: ReadReply = try call(.read(handle: object.handle, offset: offset))
    return reply.data
  }

  /// Closes an object.
  public func close(_ object: OpenReply) throws(ControlError) {
    let _: EmptyReply = try call(.close(handle: object.handle))
  }

  /// What happened to the host's modules since the last call; the first one on a connection begins,
  /// and tells nothing.
  ///
  /// Waits up to `seconds`, and a second at the most, until there is something. Tracing ends with
  /// the connection.
  ///
  /// - Parameters:
  ///   - modules: their events alone; nil for all.
  ///   - capacity: how many events the host keeps until they are asked for, if this is its first
  ///     follower.
  public func trace(
    waiting seconds: Double, filter: TraceFilterRow = TraceFilterRow(), capacity: Int? = nil
  ) throws(ControlError) -> TraceReply {
    try call(.trace(.init(seconds: seconds, filter: filter, capacity: capacity)))
  }

  /// Hangs up, from any thread: a call that waits for its answer ends with `ECONNRESET`. Not after
  /// the client has gone.
  public var hangUp: @Sendable () -> Void {
    let descriptor = channel.descriptor
    return { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }
  }

  /// Blocks until `input` is readable or at its end (true), or the host has hung up (false).
  public func wait(for input: Int32) -> Bool {
    control_wait(input, channel.descriptor, -1) & 2 == 0
  }
}

extension ControlClient {
  private func call<Body: Decodable>(_ request: Request) throws(ControlError) -> Body {
    guard let line = try? request.line(with: encoder) else {
      throw ControlError(EINVAL, "the request cannot be encoded")
    }
    if line.count > Request.limit {
      throw ControlError(EMSGSIZE, "the request is longer than \(Request.limit) bytes")
    }
    try send(line)
    guard let answer = try channel.readLine() else {
      throw ControlError(ECONNRESET, "the host closed the connection")
    }
    guard let reply = try? decoder.decode(Reply<Body>.self, from: answer) else {
      throw ControlError(EBADMSG, "the host's reply is not understood")
    }
    switch reply {
    case .success(let body): return body
    case .refusal(let error): throw error
    }
  }

  private func send(_ line: Data) throws(ControlError) {
    do throws(ControlError) {
      try channel.writeLine(line)
    } catch {
      // A host that refused the connection has said why before it hung up: the reply is still
      // there.
      if error.errno != EPIPE { throw error }
    }
  }

  /// The host's working directory is not the client's.
  private static func absolute(_ nameOrPath: String) -> String {
    if !nameOrPath.contains("/") || nameOrPath.hasPrefix("/") { return nameOrPath }
    let relative = nameOrPath.hasPrefix("./") ? nameOrPath.dropFirst(2) : nameOrPath[...]
    return "\(FileManager.default.currentDirectoryPath)/\(relative)"
  }
}
