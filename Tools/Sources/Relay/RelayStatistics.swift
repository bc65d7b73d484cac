/// What a relay has done so far: the sum over its workers, none of which stopped for it.
public struct RelayStatistics: Sendable, Hashable, Codable {
  /// Datagrams that came in, from clients and from the server.
  public var received = 0
  /// Datagrams that went out.
  public var sent = 0
  /// Datagrams that a hook dropped, that were stolen and then discarded, or that could not be sent.
  public var dropped = 0
  /// How often a hook took a datagram away. Those that came back count among the sent or the dropped too.
  public var stolen = 0
  /// How many hooks were called.
  public var moduleCalls = 0
  /// Flows that are open now.
  public var flows = 0
  /// Datagrams that the kernel threw away because a receive buffer was full.
  public var kernelDrops = 0
  /// Errors of sockets, such as a server that refused, and of flows that could not be opened.
  public var errors = 0

  /// Nothing yet.
  public init() {}

  private enum CodingKeys: String, CodingKey {
    case received, sent, dropped, stolen, flows, errors
    case moduleCalls = "module_calls"
    case kernelDrops = "kernel_drops"
  }
}
