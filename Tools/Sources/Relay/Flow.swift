internal import CRelay

/// The path of one client to the server: a connected socket of its own, on which the server's
/// answers for this client arrive.
final class Flow {
  let client: SocketAddress
  let socket: Socket
  /// The place in the table, and the generation of the flow at that place: an event of an earlier
  /// flow at the same place must not reach this one.
  let token: UInt64
  var outbox = Outbox()
  /// The local address at which the client's datagrams arrive, and from which the answers are sent.
  var local = relay_local()
  /// The time of the last datagram from the client or the server.
  var lastUse: UInt64 = 0
  /// The neighbors in the order of last use.
  var older = -1
  var newer = -1
  /// Whether the flow is in the worker's list of flows to send.
  var isTouched = false
  /// Whether the socket is not watched for reading, until waiting packets were sent.
  var isPaused = false
  /// The number of the socket's drops that were counted already.
  var kernelDrops = 0

  init(client: SocketAddress, socket: consuming Socket, token: UInt64) {
    self.client = client
    self.socket = socket
    self.token = token
  }
}
