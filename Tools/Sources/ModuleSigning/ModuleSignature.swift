import Crypto
import Foundation
import ModuleManager

/// The signature at the end of a module's file.
///
/// As the kernel's, it is appended to the file: one descriptor reads both, `cp` and `mv` keep it,
/// and a loader does not look at it. `strip` removes it, so that a file is signed last.
///
///     the file as it was built
///     key         16 bytes, the beginning of the SHA-256 of the public key
///     signer      64 bytes, a name in UTF-8, filled with zeros
///     signature   64 bytes, Ed25519, of all bytes before it
///     version      4 bytes, 1 in little-endian order
///     magic       28 bytes, "~quiescent module signature~"
///
/// A change of any byte is noticed: of one before the signature or in it by the signature, of one
/// behind it since there is one right value alone.
///
/// Source: Linux scripts/sign-file.c, include/linux/module_signature.h.
public struct ModuleSignature: Sendable, Hashable {
  /// Of the key that has made it, if the file can be believed.
  public let key: KeyIdentifier
  /// What the signer calls itself, if the file can be believed.
  public let signer: String
  /// How much of the file was there before it.
  let size: Int
  private let bytes: [UInt8]

  static let magic = Array("~quiescent module signature~".utf8)
  static let version: UInt32 = 1
  private static let headerSize = KeyIdentifier.size + KeyName.limit
  private static let signatureSize = 64
  private static let endSize = 4 + magic.count
  /// How many bytes a signature adds to a file.
  public static let totalSize = headerSize + signatureSize + endSize

  /// What the file's end says; nil when it has no signature. Verifies nothing.
  ///
  /// - Throws: `EBADMSG` when there is one that cannot be read.
  public init?(of content: UnsafeRawBufferPointer) throws(ModuleVerifier.Refusal) {
    guard content.suffix(Self.magic.count).elementsEqual(Self.magic) else { return nil }
    let end = content.dropLast(Self.magic.count)
    let version = end.suffix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    if version != Self.version {
      throw .init(
        "its signature has version \(version), and version \(Self.version) is known", errno: EBADMSG)
    }
    size = content.count - Self.totalSize
    if size < 0 { throw .init("its signature is cut short", errno: EBADMSG) }
    let header = content[size..<size + Self.headerSize]
    key = KeyIdentifier(Array(header.prefix(KeyIdentifier.size)))
    let field = header.dropFirst(KeyIdentifier.size)
    let text = field.prefix { $0 != 0 }
    guard let name = String(validating: text, as: UTF8.self), KeyName.isValid(name),
      field.dropFirst(text.count).allSatisfy({ $0 == 0 })
    else { throw .init("the name of its signer is no name", errno: EBADMSG) }
    signer = name
    bytes = Array(content[(size + Self.headerSize)...].prefix(Self.signatureSize))
  }

  /// `content` and a signature of it.
  static func append(to content: UnsafeRawBufferPointer, by key: SigningKey) throws -> [UInt8] {
    var file: [UInt8] = []
    file.reserveCapacity(content.count + totalSize)
    file += content
    file += key.verifyingKey.identifier.bytes
    let name = Array(key.name.utf8)
    file += name + [UInt8](repeating: 0, count: KeyName.limit - name.count)
    file += try key.signature(of: file)
    file += (0..<4).map { UInt8(truncatingIfNeeded: version >> ($0 * 8)) }
    file += magic
    return file
  }

  /// Returns the signature of a file, made by one of `keys`.
  ///
  /// - Complexity: O(size of the content).
  /// - Throws: `EKEYREJECTED` when the file has no signature, or one of another content; `ENOKEY`
  ///   when another key has made it; `EBADMSG` when it cannot be read.
  public static func verified(
    of content: UnsafeRawBufferPointer, by keys: [VerifyingKey]
  ) throws(ModuleVerifier.Refusal) -> ModuleSignature {
    guard let signature = try ModuleSignature(of: content) else {
      throw .init("it has no signature", errno: EKEYREJECTED)
    }
    guard let key = keys.first(where: { $0.identifier == signature.key }) else {
      throw .init(
        "it is signed by key \(signature.key), '\(signature.signer)', which is not a required key",
        errno: ENOKEY)
    }
    let signed = UnsafeRawBufferPointer(rebasing: content[..<(signature.size + headerSize)])
    if !key.isSignature(signature.bytes, of: signed) {
      throw .init(
        "it is not what key \(signature.key), '\(signature.signer)', has signed: it was changed",
        errno: EKEYREJECTED)
    }
    return signature
  }
}

extension ModuleVerifier {
  /// Refuses each file that none of `keys` has signed.
  public static func signed(by keys: [VerifyingKey]) -> ModuleVerifier {
    ModuleVerifier("require-signed") { content, _ in
      do throws(Refusal) {
        try content.withUnsafeBytes { (bytes) throws(Refusal) in
          _ = try ModuleSignature.verified(of: bytes, by: keys)
        }
        return nil
      } catch { return error }
    }
  }
}
