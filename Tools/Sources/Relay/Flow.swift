internal import CRelay

/// One client's way to the server: a connected socket of its own, so that answers find their way back.
final class Flow {
  let client: SocketAddress
  let socket: Socket
  /// Where in the table, and which of the flows that were there: events that were reported for an earlier
  /// flow of the same place must not reach this one.
  let token: UInt64
  var outbox = Outbox()
  /// Where the client's datagrams come in, and the answers go out.
  var local = relay_local()
  /// The round's clock when the client or the server last said something.
  var lastUse: UInt64 = 0
  /// Neighbours in the order of last use.
  var older = -1
  var newer = -1
  /// In the worker's list of flows to flush.
  var isTouched = false
  /// Not watched for reading, until the answers that wait have gone out.
  var isPaused = false
  /// The drops of its socket that have been counted.
  var kernelDrops = 0

  init(client: SocketAddress, socket: consuming Socket, token: UInt64) {
    self.client = client
    self.socket = socket
    self.token = token
  }
}
