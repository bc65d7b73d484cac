package import Quiescence
internal import Testing

/// A flavor as an argument of a test.
package struct FlavorCase: Sendable, CustomTestStringConvertible {
  package let type: any Flavor.Type

  package init(type: any Flavor.Type) { self.type = type }

  package var testDescription: String { "\(type)" }

  /// Those whose sections any thread enters at any time.
  package static let anywhere = [
    FlavorCase(type: Memb.self), FlavorCase(type: MB.self), FlavorCase(type: Bulletproof.self),
  ]

  /// All of them.
  package static let all = anywhere + [FlavorCase(type: QSBR.self)]
}

extension Flavor {
  /// Reads as this flavor wants it: under `QSBR` online.
  package static func readAnywhere<Result>(_ body: () -> Result) -> Result {
    if self == QSBR.self { return QSBR.withOnlineReader { _ in body() } }
    return read { _ in body() }
  }
}
