/// What a hook decides about its argument. The first hook that does not accept ends the round.
///
/// Source: netfilter's `NF_ACCEPT`, `NF_DROP`, `NF_STOLEN`; `quiescent_module.h`.
public struct Verdict: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The number that C hooks return.
  public let rawValue: Int32

  /// A verdict by its number.
  @inlinable
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// Continue with the next hook.
  @inlinable public static var accept: Verdict { Verdict(rawValue: 0) }
  /// Discard the argument.
  @inlinable public static var drop: Verdict { Verdict(rawValue: 1) }
  /// The hook owns the argument now.
  @inlinable public static var stolen: Verdict { Verdict(rawValue: 2) }

  /// `accept`, `drop` or `stolen`; the number of another one, such as `verdict 7`.
  public var description: String {
    switch self {
    case .accept: "accept"
    case .drop: "drop"
    case .stolen: "stolen"
    default: "verdict \(rawValue)"
    }
  }
}

/// The result of one round through a hook point.
public struct HookResult: Hashable, Sendable, CustomStringConvertible {
  /// The last hook's verdict; `accept` when there is no hook.
  public let verdict: Verdict
  /// How many hooks were called.
  public let called: Int

  @inlinable
  init(verdict: Verdict, called: Int) {
    self.verdict = verdict
    self.called = called
  }

  /// Such as `drop by hook 2`, `accept by 3 hooks` or `accept by no hook`.
  public var description: String {
    if verdict != .accept { return "\(verdict) by hook \(called)" }
    return called == 0 ? "accept by no hook" : "accept by \(called) hook\(called == 1 ? "" : "s")"
  }
}
