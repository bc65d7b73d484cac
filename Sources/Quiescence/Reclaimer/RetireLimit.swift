/// How much may be retired and not yet run, and what happens to whoever retires more.
///
/// While a reader stays in its section nothing that was retired can be freed. Without a limit a fast producer fills the
/// memory meanwhile.
public struct RetireLimit: Hashable, Sendable {
  /// What a reclaimer does when it is full.
  public enum Policy: Hashable, Sendable {
    /// The producer waits until there is room.
    case wait
    /// The producer waits for a grace period itself, and runs on its own thread what it has retired.
    case synchronizeInline
    /// `tryRetire` throws, and the caller keeps what it has. `retire`, which cannot refuse, synchronizes inline.
    case refuse
  }

  /// The most callbacks that wait at any time; at least 1.
  public let count: Int
  /// What happens then.
  public let policy: Policy

  /// - Parameter count: at least 1.
  public init(_ count: Int, _ policy: Policy) {
    precondition(count > 0, "a RetireLimit of \(count): at least one value must fit")
    self.count = count
    self.policy = policy
  }
}

/// Why something was not retired.
public struct RetireError: Error, Hashable, CustomStringConvertible {
  /// What was wrong. More may come.
  public struct Code: Hashable, Sendable {
    private let rawValue: Int
    /// As much is retired as the limit allows, and the policy is to refuse.
    public static let limitReached = Code(rawValue: 1)
  }

  /// What was wrong.
  public let code: Code
  /// The name of the reclaimer.
  public let reclaimer: String
  /// Its limit.
  public let limit: Int

  /// One line.
  public var description: String {
    "\(reclaimer): \(limit) callbacks wait for a grace period already, and its policy is to refuse more"
  }
}
