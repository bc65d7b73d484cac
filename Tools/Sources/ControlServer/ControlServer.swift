import CControl
import ControlProtocol
import Foundation
import Synchronization
import ToolSupport

/// Serves the control connection: newline-delimited JSON over a Unix-domain socket.
///
/// Each connection has a thread of its own, so that a slow or dead client holds up no other one.
/// What a client sends gets one reply a line, or ends its own connection. A client that goes frees
/// its place at once, and ends its request.
public final class ControlServer: Sendable {
  /// What clients may ask for, and which clients.
  public enum Access: Sendable {
    /// Everything, for processes of the host's user: the socket has mode 0600.
    case control
    /// What changes nothing, for each process that the socket's mode lets connect: 0660 at first.
    case readOnly
  }

  /// Where the socket is.
  public let path: String

  private let service: any ControlService
  private let access: Access
  private let log: @Sendable (String) -> Void
  private let listener: Int32
  private let file: SocketFile
  private let stopping: Bell
  private let acceptor = DispatchGroup()
  private let connections: ConnectionSet
  private let idleLimit: Duration
  private let user: UInt32

  /// Claims the socket at `path`; connections wait until ``start()``.
  ///
  /// `EADDRINUSE` when a host serves there, `EEXIST` when another file is there, `ENAMETOOLONG`.
  ///
  /// - Parameters:
  ///   - maximumConnections: at that many, a client is answered `EAGAIN`.
  ///   - idleLimit: the server hangs up on a client that has no object open and sends no request
  ///     for so long.
  ///   - log: gets one line for every client that is refused; any thread.
  public convenience init(
    path: String, service: any ControlService, access: Access = .control, maximumConnections: Int = 64,
    idleLimit: Duration = .seconds(60), log: @escaping @Sendable (String) -> Void
  ) throws(ControlError) {
    try self.init(
      path: path, service: service, access: access, maximumConnections: maximumConnections,
      idleLimit: idleLimit, user: geteuid(), log: log)
  }

  init(
    path: String, service: any ControlService, access: Access = .control, maximumConnections: Int,
    idleLimit: Duration = .seconds(60), user: UInt32, log: @escaping @Sendable (String) -> Void
  ) throws(ControlError) {
    stopping = try Bell()
    let listener = control_socket()
    if listener < 0 { throw ControlError(-listener, "control socket \(path): no descriptor") }
    do throws(ControlError) {
      file = try SocketFile(
        claiming: path, for: listener, backlog: 64, mode: access == .control ? 0o600 : 0o660)
    } catch {
      close(listener)
      throw error
    }
    // A client that gave up between the poll and the accept must not block the accept.
    _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK)
    self.listener = listener
    self.path = path
    self.service = service
    self.access = access
    self.idleLimit = idleLimit
    self.user = user
    self.log = log
    connections = ConnectionSet(limit: maximumConnections)
  }

  deinit {
    close(listener)
  }

  /// Starts to accept. Once.
  public func start() {
    acceptor.enter()
    Thread.start(named: "control") { [self] in
      while look() {}
      acceptor.leave()
    }
  }

  /// Removes the socket's name, accepts no further client, and hangs up on every client.
  ///
  /// Returns when every connection has closed its objects, or after `limit`; false then: a request
  /// is still being carried out. Any thread, not a connection's.
  @discardableResult
  public func stop(within limit: Duration) -> Bool {
    let deadline = ContinuousClock.now + limit
    file.remove()
    stopping.ring()
    _ = acceptor.wait(timeout: .now() + limit / .seconds(1))
    return connections.endAll(within: max(.zero, ContinuousClock.now.duration(to: deadline)))
  }

  /// Waits for a client that comes or goes, or for the end: false.
  private func look() -> Bool {
    let members = connections.sockets
    var polled = [
      pollfd(fd: stopping.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
    ]
    // POLLHUP alone, which is always reported: a client that only ended its own sending still waits
    // for its answer.
    polled += members.map { pollfd(fd: $0.socket, events: 0, revents: 0) }
    if poll(&polled, nfds_t(polled.count), -1) < 0 { return true }
    if polled[0].revents != 0 { return false }
    // First: a client that comes may need the place of one that has gone. A descriptor that was
    // closed since, and may be another file's by now, belongs to no member any more.
    for (member, polled) in zip(members, polled.dropFirst(2)) where polled.revents != 0 {
      connections.clientHasGone(member.id)
    }
    if polled[1].revents != 0 { accept() }
    return true
  }

  private func accept() {
    let socket = control_accept(listener)
    if socket < 0 {
      if socket != -EAGAIN { pause(after: -socket) }
      return
    }
    let channel = LineChannel(descriptor: socket, limit: Request.limit)
    do throws(ControlError) {
      let peer = try Peer(of: socket)
      if access == .control { try peer.check(against: user) }
      let session = Session(
        service: service, holder: "client \(peer.process)", socket: socket,
        access: access == .control ? .control : .readOnly)
      let place = try connections.enter(socket, hangUp: session.hangUp)
      Connection.start(channel: channel, place: place, session: session, idleLimit: idleLimit)
    } catch {
      refuse(channel, error)
    }
  }

  /// Out of descriptors or memory: the connection stays in the queue, and trying at once would
  /// spin.
  private func pause(after code: Int32) {
    log("control: \(ControlError(code, "cannot accept a connection"))")
    _ = control_wait(-1, stopping.descriptor, 100)
  }

  private func refuse(_ channel: LineChannel, _ error: ControlError) {
    log("control: refused: \(error)")
    let session = Session(service: service, holder: "", socket: -1)
    var line = session.refusal(error)
    line.append(UInt8(ascii: "\n"))
    // A fresh socket has room for a line; this thread must not wait for a client.
    _ = line.withUnsafeBytes { control_send(channel.descriptor, $0.baseAddress, $0.count, 0) }
  }
}
