/// What became of a ``RCUBox/compareExchange(_:with:)``. Nothing is lost: each value is in one place.
public enum CompareExchangeOutcome<Value: ~Copyable & Sendable, F: Flavor>: ~Copyable, Sendable {
  /// The new value is published; here is the one it replaced.
  case exchanged(Retired<Value, F>)

  /// Another version was current, and still is; here is the new value back.
  case refused(Value)

  /// Whether the new value was published.
  public var isExchanged: Bool {
    switch self {
    case .exchanged: true
    case .refused: false
    }
  }
}
