import CControl
import Foundation
import Synchronization

/// Serves the control connection: newline-delimited JSON over a Unix-domain socket of mode 0600.
///
/// Each connection has a thread of its own, so that a slow or dead client holds up no other. Peers
/// of another user are refused. Whatever a client sends gets one reply a line, or ends its own
/// connection.
public final class ControlServer: Sendable {
  /// Where the socket is.
  public let path: String

  private let service: any ControlService
  private let log: @Sendable (String) -> Void
  private let listener: Int32
  private let file: SocketFile
  private let stopping: Bell
  private let acceptor = DispatchGroup()
  private let connections: ConnectionSet
  private let user: UInt32

  /// Claims the socket at `path`; connections wait until ``start()``.
  ///
  /// `EADDRINUSE` when a host serves there, `EEXIST` when another file is there, `ENAMETOOLONG`.
  ///
  /// - Parameters:
  ///   - maximumConnections: at that many, a client is answered `EAGAIN`.
  ///   - log: gets one line for every client that is refused; any thread.
  public convenience init(
    path: String, service: any ControlService, maximumConnections: Int = 64,
    log: @escaping @Sendable (String) -> Void
  ) throws(ControlError) {
    try self.init(
      path: path, service: service, maximumConnections: maximumConnections, user: geteuid(), log: log)
  }

  init(
    path: String, service: any ControlService, maximumConnections: Int, user: UInt32,
    log: @escaping @Sendable (String) -> Void
  ) throws(ControlError) {
    stopping = try Bell()
    let listener = control_socket()
    if listener < 0 { throw ControlError(-listener, "control socket \(path): no descriptor") }
    do throws(ControlError) {
      file = try SocketFile(claiming: path, for: listener, backlog: 64)
    } catch {
      close(listener)
      throw error
    }
    // A client that gave up between the poll and the accept must not block the accept.
    _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK)
    self.listener = listener
    self.path = path
    self.service = service
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
      while control_wait(listener, stopping.descriptor, -1) == 1 { accept() }
      acceptor.leave()
    }
  }

  /// Removes the socket's name, accepts no more clients, and hangs up on every client.
  ///
  /// Returns when every connection has closed its objects, or after `limit`; false then: a request
  /// is still being carried out. Any thread, not a connection's.
  @discardableResult
  public func stop(within limit: Duration) -> Bool {
    file.remove()
    stopping.ring()
    acceptor.wait()
    return connections.endAll(within: limit)
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
      try peer.check(against: user)
      let place = try connections.enter(socket)
      Connection.start(
        channel: channel, place: place,
        session: Session(service: service, holder: "client \(peer.process)", socket: socket))
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

extension Thread {
  /// Starts a thread of that name.
  static func start(named name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.start()
  }
}
