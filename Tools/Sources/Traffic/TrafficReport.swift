/// The results of a ``TrafficClient``.
public struct TrafficReport: Sendable, Hashable, Codable {
  /// Requests sent.
  public var sent = 0
  /// Requests whose answer has arrived, correct to the last byte.
  public var answered = 0
  /// Requests without an answer. While the client runs, this includes requests in flight.
  public var lost: Int { sent - answered }
  /// Datagrams that are not a correct answer to a request of their flow.
  public var corrupted = 0
  /// Answers to requests that were answered before.
  public var duplicates = 0
  /// Answers, of those, with another number of marks than expected.
  public var mismarked = 0
  /// Datagrams that did not fit into a receive buffer of the client.
  public var kernelDrops = 0

  /// Creates an empty report.
  public init() {}
}
