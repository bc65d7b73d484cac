import Crypto
import Foundation
import ModuleFiles

/// The private half of a key for modules, Ed25519.
public struct SigningKey: Sendable {
  /// What its holder calls itself.
  public let name: String
  private let key: Curve25519.Signing.PrivateKey

  private static let kind = "quiesce-private-key-1"

  /// A new key from the system's random numbers.
  ///
  /// - Throws: `EINVAL` for a name that is none.
  public init(named name: String) throws(ModuleFileError) {
    if !KeyName.isValid(name) { throw ModuleFileError(name, EINVAL, KeyName.rule) }
    self.name = name
    key = Curve25519.Signing.PrivateKey()
  }

  /// Reads a file that ``write(to:)`` has written.
  ///
  /// - Throws: what the file system says; `EPERM` when others may read or write the file; `EINVAL`
  ///   for what is no private key.
  public init(path: String) throws(ModuleFileError) {
    let file = try KeyFile(path: path)
    if file.kind == VerifyingKey.kind {
      throw ModuleFileError(path, EINVAL, "is a public key; the private one signs")
    }
    guard file.kind == Self.kind, let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: file.bytes)
    else { throw KeyFile.noKey(path) }
    if !file.isPrivate {
      throw ModuleFileError(path, EPERM, "may be read by others than its owner; see chmod(1): go=")
    }
    name = file.name
    self.key = key
  }

  /// The public half.
  public var verifyingKey: VerifyingKey { VerifyingKey(named: name, key.publicKey) }

  /// Writes the key to a new file at `path`, mode 0600, and its public half to one at `path`.pub.
  ///
  /// - Throws: what the file system says; `EEXIST` when one of them is there. Then, neither was
  ///   written.
  public func write(to path: String) throws(ModuleFileError) {
    try KeyFile.create(path, Self.kind, Array(key.rawRepresentation), name, mode: 0o600)
    do throws(ModuleFileError) { try verifyingKey.write(to: "\(path).pub") } catch {
      unlink(path)
      throw error
    }
  }

  func signature(of bytes: [UInt8]) throws -> Data { try key.signature(for: bytes) }
}

/// The public half of a key for modules, Ed25519.
public struct VerifyingKey: Sendable {
  /// What the key's holder calls itself.
  public let name: String
  /// How signatures name it.
  public let identifier: KeyIdentifier
  private let key: Curve25519.Signing.PublicKey

  static let kind = "quiesce-public-key-1"

  init(named name: String, _ key: Curve25519.Signing.PublicKey) {
    self.name = name
    self.key = key
    identifier = KeyIdentifier(Array(SHA256.hash(data: key.rawRepresentation).prefix(KeyIdentifier.size)))
  }

  /// Reads the public half of a key.
  ///
  /// - Throws: what the file system says; `EPERM` when others may write the file; `EINVAL` for what
  ///   is no public key.
  public init(path: String) throws(ModuleFileError) {
    let file = try KeyFile(path: path)
    if file.kind.hasPrefix("quiesce-private-key-") {
      throw ModuleFileError(path, EINVAL, "is a private key; the public one verifies, \(path).pub")
    }
    guard file.kind == Self.kind, let key = try? Curve25519.Signing.PublicKey(rawRepresentation: file.bytes)
    else { throw KeyFile.noKey(path) }
    self.init(named: file.name, key)
  }

  func write(to path: String) throws(ModuleFileError) {
    try KeyFile.create(path, Self.kind, Array(key.rawRepresentation), name, mode: 0o644)
  }

  func isSignature(_ signature: [UInt8], of bytes: UnsafeRawBufferPointer) -> Bool {
    key.isValidSignature(signature, for: bytes)
  }
}

/// A short name of a public key: 16 bytes of its SHA-256.
public struct KeyIdentifier: Hashable, Sendable, CustomStringConvertible {
  let bytes: [UInt8]
  static let size = 16

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// In hexadecimal digits.
  public var description: String { Hexadecimal.text(bytes) }
}

/// What the holder of a key calls itself: "builds@example.org".
enum KeyName {
  /// In bytes.
  static let limit = 64
  static let rule = "the name of a key has 1 to \(limit) bytes of text, without control characters"

  static func isValid(_ name: String) -> Bool {
    (1...limit).contains(name.utf8.count)
      && !name.unicodeScalars.contains { scalar in
        scalar.properties.generalCategory == .control || scalar.value == 0x2028 || scalar.value == 0x2029
      }
  }
}
