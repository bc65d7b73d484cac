/// An integer as users write it: with a sign, and with the base in front of the digits: `0x1f`,
/// `017` or `0o17`, `0b101`, or decimal.
///
/// The same on the command line and in files of a configuration, where TOML has its own numbers.
///
/// Source: Linux, `kstrtoll` with base 0; the prefixes `0o` and `0b` are those of TOML and Swift.
struct IntegerText {
  let isNegative: Bool
  /// Nil: more than 64 bits, which is out of any range, and not malformed.
  let magnitude: UInt64?

  /// Nil when it is no integer.
  init?(_ text: Substring) {
    isNegative = text.hasPrefix("-")
    var digits = text
    if isNegative || text.hasPrefix("+") { digits.removeFirst() }
    var base = 10
    if let (prefix, other) = Self.prefixes.first(where: { digits.lowercased().hasPrefix($0.prefix) }) {
      digits.removeFirst(prefix.count)
      base = other
    } else if digits.count > 1 && digits.hasPrefix("0") {
      digits.removeFirst()
      base = 8
    }
    // Not a second sign, nor digits of other scripts.
    guard !digits.isEmpty, digits.utf8.allSatisfy({ Self.digit($0) < base }) else { return nil }
    magnitude = UInt64(digits, radix: base)
  }

  var signed: Int64? {
    guard let magnitude else { return nil }
    if isNegative && magnitude == Int64.min.magnitude { return .min }
    return Int64(exactly: magnitude).map { isNegative ? -$0 : $0 }
  }

  var unsigned: UInt64? { isNegative && magnitude != 0 ? nil : magnitude }

  private static let prefixes: [(prefix: String, base: Int)] = [("0x", 16), ("0o", 8), ("0b", 2)]

  private static func digit(_ byte: UInt8) -> Int {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
    default: .max
    }
  }
}
