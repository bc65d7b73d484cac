/// What a ``TrafficClient`` saw.
public struct TrafficReport: Sendable, Hashable, Codable {
  /// Requests that were sent.
  public var sent = 0
  /// Requests whose answer came, right to the last byte.
  public var answered = 0
  /// Requests without an answer: decided once the client has stopped, on the way there those in flight.
  public var lost: Int { sent - answered }
  /// Datagrams that are no right answer to anything that this flow asked.
  public var corrupted = 0
  /// Answers to requests that had been answered before.
  public var duplicates = 0
  /// Datagrams that did not fit into a receive buffer of the client.
  public var kernelDrops = 0

  /// Nothing yet.
  public init() {}
}
