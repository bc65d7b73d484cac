import Foundation
import ModuleFiles
import ModuleManager
import Testing

@testable import ModuleSigning

/// A signature covers every byte of its file.
@Suite struct SignatureTests {
  let directory: TemporaryDirectory
  let key: SigningKey
  let path: String

  init() async throws {
    directory = try TemporaryDirectory()
    key = try SigningKey(named: "builds")
    let path = directory.file("counter.so")
    try await onThread {
      try FileManager.default.copyItem(atPath: "\(Built.modules.get())/counter.so", toPath: path)
    }
    self.path = path
  }

  private func refusal(_ content: [UInt8], _ keys: [VerifyingKey]? = nil) -> ModuleVerifier.Refusal? {
    do throws(ModuleVerifier.Refusal) {
      try content.span.bytes.withUnsafeBytes { (bytes) throws(ModuleVerifier.Refusal) in
        _ = try ModuleSignature.verified(of: bytes, by: keys ?? [key.verifyingKey])
      }
      return nil
    } catch { return error }
  }

  @Test func everyChangedByteOfTheSignatureIsNoticed() throws {
    let built = try RegularFile(path: path).content
    _ = try RegularFile(path: path).sign(by: key)
    let signed = try RegularFile(path: path).content
    #expect(signed.count == built.count + ModuleSignature.totalSize && signed.starts(with: built))
    #expect(refusal(signed) == nil)
    // Bytes of the end, and of the file as it was built.
    let places = Array(built.count..<signed.count) + stride(from: 0, to: built.count, by: 97)
    var counts: [Int32: Int] = [:]
    for place in places {
      var changed = signed
      changed[place] ^= 1 << (place % 8)
      let found = try #require(refusal(changed), "byte \(place)")
      counts[found.errno, default: 0] += 1
      switch place - built.count {
      case ..<0: #expect(found.errno == EKEYREJECTED && found.reason.hasSuffix("it was changed"))
      // Another key's name.
      case ..<16: #expect(found.errno == ENOKEY)
      // The signer's: no name with a byte behind its end, or not what was signed.
      case ..<80: #expect([EBADMSG, EKEYREJECTED].contains(found.errno))
      case ..<144: #expect(found.errno == EKEYREJECTED)
      case ..<148: #expect(found.errno == EBADMSG && found.reason.contains("has version"))
      default: #expect(found.errno == EKEYREJECTED && found.reason == "it has no signature")
      }
    }
    #expect(counts[ENOKEY] == 16 && counts[EBADMSG, default: 0] >= 4 + 57)
  }

  @Test func truncatedAndExtendedFilesAreRefused() throws {
    _ = try RegularFile(path: path).sign(by: key)
    let signed = try RegularFile(path: path).content
    for count in [0, 1, 27, 28, 100] + Array(stride(from: 176, to: signed.count, by: 501)) {
      #expect(refusal(Array(signed.prefix(count)))?.errno == EKEYREJECTED)
      #expect(refusal(signed + signed.prefix(max(1, count)))?.errno == EKEYREJECTED, "\(count)")
      // The signature alone, or with a part of what it signs.
      #expect(refusal(Array(signed.suffix(count))) != nil)
    }
    #expect(refusal(Array(signed.suffix(100)))?.errno == EBADMSG)
    #expect(refusal(Array(signed.suffix(ModuleSignature.totalSize)))?.errno == EKEYREJECTED)
    // The signature of one file does not fit another one.
    var other = signed
    other.replaceSubrange(0..<(signed.count - 176), with: [UInt8](repeating: 0, count: signed.count - 176))
    #expect(refusal(other)?.errno == EKEYREJECTED)
  }

  @Test func unknownKeyIsNamed() throws {
    _ = try RegularFile(path: path).sign(by: key)
    let signed = try RegularFile(path: path).content
    let other = try SigningKey(named: "others")
    #expect(refusal(signed, [other.verifyingKey, key.verifyingKey]) == nil)
    let found = refusal(signed, [other.verifyingKey])
    let identifier = key.verifyingKey.identifier
    #expect(identifier.description.count == 32 && identifier != other.verifyingKey.identifier)
    #expect(
      found
        == .init(
          "it is signed by key \(identifier), 'builds', which is not a required key", errno: ENOKEY))
  }

  /// A key that calls itself as another one is another key.
  @Test func nameOfTheSignerProvesNothing() throws {
    _ = try RegularFile(path: path).sign(by: try SigningKey(named: "builds"))
    #expect(refusal(try RegularFile(path: path).content)?.errno == ENOKEY)
  }

  @Test func secondSignatureReplacesTheFirst() throws {
    let built = try RegularFile(path: path).content
    let other = try SigningKey(named: "others")
    for signer in [key, key, other] {
      let signature = try RegularFile(path: path).sign(by: signer)
      #expect(signature.signer == signer.name && signature.key == signer.verifyingKey.identifier)
      let signed = try RegularFile(path: path).content
      #expect(signed.count == built.count + ModuleSignature.totalSize && signed.starts(with: built))
      #expect(refusal(signed, [signer.verifyingKey]) == nil)
    }
  }

  @Test func signedFileKeepsItsModeAndItsLinks() throws {
    let link = directory.file("link.so")
    #expect(symlink(path, link) == 0 && chmod(path, 0o750) == 0)
    _ = try RegularFile(path: link).sign(by: key)
    var status = stat()
    #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o750)
    #expect(refusal(try RegularFile(path: path).content) == nil)
    // No file in between is left.
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted() == [
        "counter.so", "link.so",
      ])
  }

  @Test func namesOfKeysFitTheirField() throws {
    for name in ["", String(repeating: "ä", count: 33), "two\nlines", "\u{1b}[2J"] {
      #expect(throws: ModuleFileError.self) { try SigningKey(named: name) }
    }
    let long = try SigningKey(named: String(repeating: "ä", count: 32))
    #expect(try RegularFile(path: path).sign(by: long).signer == long.name)
  }
}

/// The files of keys.
@Suite struct KeyFileTests {
  let directory: TemporaryDirectory
  var path: String { directory.file("builds.key") }

  init() throws { directory = try TemporaryDirectory() }

  private func error(_ body: () throws -> Void) -> ModuleFileError? {
    do {
      try body()
      return nil
    } catch { return error as? ModuleFileError }
  }

  private func mode(_ path: String) -> mode_t {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
  }

  @Test func privateKeyIsPrivateAndIsReadBack() throws {
    let key = try SigningKey(named: "builds of N. N.")
    try key.write(to: path)
    #expect(mode(path) == 0o600)
    let read = try SigningKey(path: path)
    let known = try VerifyingKey(path: "\(path).pub")
    #expect(read.name == "builds of N. N." && known.name == read.name)
    #expect(
      read.verifyingKey.identifier == known.identifier && known.identifier == key.verifyingKey.identifier)
    let bytes = Array("content".utf8)
    let signature = Array(try read.signature(of: bytes))
    #expect(bytes.withUnsafeBytes { known.isSignature(signature, of: $0) })
    #expect(
      error { _ = try SigningKey(path: "\(path).pub") }?.reason == "is a public key; the private one signs")
    #expect(
      error { _ = try VerifyingKey(path: path) }?.reason
        == "is a private key; the public one verifies, \(path).pub")
  }

  @Test func keysAreNeverOverwritten() throws {
    let key = try SigningKey(named: "first")
    try key.write(to: path)
    let files = [try directory.read("builds.key"), try directory.read("builds.key.pub")]
    let other = try SigningKey(named: "second")
    #expect(
      error { try other.write(to: path) }?.description
        == "\(path): is there already; a key is not overwritten (EEXIST)")
    // Neither of them is written when one is there.
    unlink(path)
    #expect(error { try other.write(to: path) }?.subject == "\(path).pub")
    #expect(access(path, F_OK) != 0)
    #expect(try directory.read("builds.key.pub") == files[1])
    // Also not through a link that leads nowhere.
    #expect(symlink(directory.file("elsewhere"), path) == 0)
    #expect(error { try other.write(to: path) }?.errno == EEXIST)
    #expect(access(directory.file("elsewhere"), F_OK) != 0)
  }

  @Test func keysThatOthersMayReadOrWriteAreRefused() throws {
    try SigningKey(named: "open").write(to: path)
    for mode in [0o640, 0o604, 0o622] as [mode_t] {
      #expect(chmod(path, mode) == 0)
      #expect(error { _ = try SigningKey(path: path) }?.errno == EPERM)
    }
    for mode in [0o664, 0o646] as [mode_t] {
      #expect(chmod("\(path).pub", mode) == 0)
      #expect(error { _ = try VerifyingKey(path: "\(path).pub") }?.errno == EPERM)
    }
  }

  @Test func otherFilesAreRefusedAsKeys() throws {
    try SigningKey(named: "whole").write(to: path)
    let whole = try directory.read("builds.key")
    let texts = [
      "", "\n", "quiesce-private-key-1\n", "quiesce-private-key-1 00 name\n",
      whole.replacingOccurrences(of: "key-1", with: "key-2"), String(whole.dropLast()), whole + whole,
      whole.replacingOccurrences(of: " whole", with: ""), whole.replacingOccurrences(of: "whole", with: ""),
      String(repeating: "x", count: 5000),
    ]
    for text in texts {
      try directory.write(text, to: "other.key")
      #expect(chmod(directory.file("other.key"), 0o600) == 0)
      let error = error { _ = try SigningKey(path: directory.file("other.key")) }
      #expect([EINVAL, EFBIG].contains(error?.errno), "\(text.prefix(40))")
    }
    #expect(error { _ = try SigningKey(path: directory.path) }?.errno == EISDIR)
    #expect(error { _ = try SigningKey(path: directory.file("none")) }?.errno == ENOENT)
    #expect(mkfifo(directory.file("pipe"), 0o600) == 0)
    #expect(error { _ = try SigningKey(path: directory.file("pipe")) }?.errno == EINVAL)
  }
}
