/// A type with a hash of few instructions: see ``FastHashed``.
public protocol FastHashable: Hashable {
  /// A number whose lowest and highest bits depend on every bit of the value and of `seed`. Equal
  /// values have equal ones.
  func fastHash(seed: UInt) -> UInt
}

/// A key that is hashed by one multiplication, or by one for every 8 bytes, instead of by the
/// standard library's hash.
///
/// ```swift
/// let ports = RCUDictionary<FastHashed<UInt16>, String, Memb>()
/// ports[FastHashed(443)] = "https"
/// ```
///
/// For keys that no attacker chooses: an attacker that inserts many keys and measures lookups can
/// find keys that collide, and each lookup of such a key compares all of them. A plain key, the
/// default, is hashed with a random seed and does not have this weakness.
///
/// Source: the multiplication of two words whose halves are joined is Wang Yi's, wyhash.
public struct FastHashed<Base: FastHashable>: Hashable {
  /// The key itself.
  public let base: Base

  /// The same key, with another hash.
  @inlinable @inline(__always)
  public init(_ base: Base) {
    self.base = base
  }

  /// Whether the keys are equal.
  @inlinable @inline(__always)
  public static func == (left: FastHashed, right: FastHashed) -> Bool { left.base == right.base }

  /// For other collections than those of this module, which hash with their own hasher.
  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(base) }

  /// What dictionaries ask for a hash.
  @inlinable @inline(__always)
  public func _rawHashValue(seed: Int) -> Int {
    Int(bitPattern: base.fastHash(seed: UInt(bitPattern: seed)))
  }
}

extension FastHashed: Sendable where Base: Sendable {}

extension FastHashed: CustomStringConvertible {
  /// That of the key.
  public var description: String { String(describing: base) }
}

@usableFromInline
enum FastHash {
  /// Odd, and with as many ones as zeros.
  @inlinable
  static var multiplier: UInt64 { 0x9E37_79B9_7F4A_7C15 }

  @inlinable @inline(__always)
  static func mix(_ word: UInt64, _ seed: UInt64) -> UInt64 {
    // The seed in both: a factor that an attacker knows is zero for some word, and then nothing
    // else counts.
    let product = (word ^ seed).multipliedFullWidth(by: multiplier)
    return product.high ^ product.low
  }

  @inlinable
  static func hash(_ bytes: UnsafeRawBufferPointer, seed: UInt) -> UInt {
    var state = UInt64(seed) ^ UInt64(bytes.count)
    var offset = 0
    while offset + 8 <= bytes.count {
      state = mix(bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self), state)
      offset += 8
    }
    if offset < bytes.count {
      var rest: UInt64 = 0
      for index in offset..<bytes.count { rest = rest << 8 | UInt64(bytes[index]) }
      state = mix(rest, state)
    }
    return UInt(mix(state, multiplier))
  }
}

extension FastHashable where Self: FixedWidthInteger {
  /// One multiplication.
  @inlinable @inline(__always)
  public func fastHash(seed: UInt) -> UInt {
    UInt(truncatingIfNeeded: FastHash.mix(UInt64(truncatingIfNeeded: self), UInt64(seed)))
  }
}

extension Int: FastHashable {}
extension Int8: FastHashable {}
extension Int16: FastHashable {}
extension Int32: FastHashable {}
extension Int64: FastHashable {}
extension UInt: FastHashable {}
extension UInt8: FastHashable {}
extension UInt16: FastHashable {}
extension UInt32: FastHashable {}
extension UInt64: FastHashable {}

extension Array: FastHashable where Element == UInt8 {
  /// A multiplication for every 8 bytes.
  @inlinable
  public func fastHash(seed: UInt) -> UInt { withUnsafeBytes { FastHash.hash($0, seed: seed) } }
}
