import Quiescence
import Testing

/// A flavor as an argument of a test.
struct FlavorCase: Sendable, CustomTestStringConvertible {
  let type: any Flavor.Type

  var testDescription: String { "\(type)" }

  /// Those whose sections any thread enters at any time.
  static let anywhere = [
    FlavorCase(type: Memb.self), FlavorCase(type: MB.self), FlavorCase(type: Bulletproof.self),
  ]

  /// All of them.
  static let all = anywhere + [FlavorCase(type: QSBR.self)]
}

extension Flavor {
  /// Reads as this flavor wants it: under `QSBR` online.
  static func readAnywhere<Result>(_ body: () -> Result) -> Result {
    if self == QSBR.self { return QSBR.withOnlineReader { _ in body() } }
    return read { _ in body() }
  }
}
