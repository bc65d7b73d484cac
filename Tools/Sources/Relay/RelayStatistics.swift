/// What a relay has done so far: the sum over its workers, which keep running while they are read.
public struct RelayStatistics: Sendable, Hashable, Codable {
  /// Datagrams received, from clients and from the server.
  public var received = 0
  /// Datagrams sent.
  public var sent = 0
  /// Datagrams that a hook dropped, that were stolen and then discarded, or that could not be sent.
  public var dropped = 0
  /// How often a hook stole a datagram. A stolen datagram that was returned is also counted as sent
  /// or dropped.
  public var stolen = 0
  /// Hooks called.
  public var moduleCalls = 0
  /// Flows that are open now.
  public var flows = 0
  /// Datagrams that the kernel dropped because a receive buffer was full.
  public var kernelDrops = 0
  /// Errors of sockets, such as a server that refuses datagrams, and flows that could not be
  /// opened.
  public var errors = 0

  /// Creates statistics of zero.
  public init() {}
}
