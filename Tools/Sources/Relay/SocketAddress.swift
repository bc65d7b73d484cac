package import CRelay
internal import Glibc

/// An IPv4 or IPv6 address with a port.
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
  package let raw: relay_address

  package init(_ raw: relay_address) {
    self.raw = raw
  }

  /// Parses `127.0.0.1:5000` or `[::1]:5000`. Port 0 stands for any free port. Host names are not
  /// resolved.
  public init(parsing text: String) throws(RelayError) {
    let refusal = RelayError(
      text, EINVAL, "not a numeric address and port, such as 127.0.0.1:5000 or [::1]:5000")
    guard let colon = text.lastIndex(of: ":"),
      let port = Self.port(text[text.index(after: colon)...])
    else { throw refusal }
    var host = text[..<colon]
    if host.first == "[", host.last == "]" {
      host = host.dropFirst().dropLast()
      guard host.contains(":") else { throw refusal }
    } else if host.contains(":") {
      throw refusal
    }
    var raw = relay_address()
    guard !host.isEmpty, relay_address_parse(String(host), port, &raw) == 0 else { throw refusal }
    self.raw = raw
  }

  /// Digits only: `UInt16.init` would also accept a sign.
  private static func port(_ text: Substring) -> UInt16? {
    text.allSatisfy { $0.isASCII && $0.isNumber } ? UInt16(text) : nil
  }

  /// The port, in the host's byte order.
  public var port: UInt16 { raw.port }

  /// The text that ``init(parsing:)`` accepts.
  public var description: String {
    let host = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { text in
      // Not nil: the buffer has 128 elements.
      relay_address_format(raw, text.baseAddress!, text.count)
      return String(cString: text.baseAddress!)
    }
    return isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  package var isIPv6: Bool { raw.family == UInt16(AF_INET6) }
  package var isEveryAddress: Bool { relay_address_is_any(raw) }

  /// The same family, address, scope and port.
  public static func == (left: Self, right: Self) -> Bool {
    left.raw.high == right.raw.high && left.raw.low == right.raw.low
      && left.raw.scope == right.raw.scope && left.raw.port == right.raw.port
      && left.raw.family == right.raw.family
  }

  /// Hashes the values that `==` compares.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(raw.high)
    hasher.combine(raw.low)
    hasher.combine(UInt64(raw.scope) << 32 | UInt64(raw.port) << 16 | UInt64(raw.family))
  }
}
