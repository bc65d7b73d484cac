/// How much may be retired and not yet run, and what happens to a thread that retires more. See
/// ``RCUReclaimer/limit``.
///
/// While a reader stays in its section nothing that was retired can be freed. Without a limit a
/// fast producer fills the memory meanwhile.
public struct RetireLimit: Hashable, Sendable {
  /// What a reclaimer does when it is full.
  public enum Policy: Hashable, Sendable {
    /// The producer waits until there is room.
    case wait
    /// The producer waits for a grace period itself, and runs on its own thread what it has
    /// retired.
    case synchronizeInline
    /// `tryRetire` throws, and the caller keeps what it has. `retire`, which cannot refuse,
    /// synchronizes inline.
    case refuse
  }

  /// The most callbacks that wait at any time; at least 1.
  public let count: Int
  /// What happens then.
  public let policy: Policy

  /// A limit of so many callbacks.
  ///
  /// - Parameters:
  ///   - count: At least 1.
  ///   - policy: What a retire does at the limit.
  public init(_ count: Int, _ policy: Policy) {
    precondition(count > 0, "a RetireLimit of \(count): at least one value must fit")
    self.count = count
    self.policy = policy
  }
}

/// A reclaimer refused to retire something: as much waits as its limit allows, and its policy is to
/// refuse more.
public struct RetireError: Error, Hashable, CustomStringConvertible {
  /// The name of the reclaimer.
  public let reclaimer: String
  /// Its limit.
  public let limit: Int

  /// One line.
  public var description: String {
    "\(reclaimer): \(limit) callback\(limit == 1 ? " waits" : "s wait") for a grace period already, and its policy is "
      + "to refuse more"
  }
}
