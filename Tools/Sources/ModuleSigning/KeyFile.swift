import Foundation
import ModuleFiles

/// A file with a key: one line, `KIND HEXADECIMAL NAME`.
struct KeyFile {
  let kind: String
  let bytes: [UInt8]
  let name: String

  /// In bytes: more than a line can have.
  private static let limit = 4096

  /// Whether others than its owner have no right to it.
  let isPrivate: Bool

  init(path: String) throws(ModuleFileError) {
    let file = try RegularFile(path: path, limit: Self.limit)
    if file.owner != 0 && file.owner != geteuid() {
      throw ModuleFileError(
        path, EPERM, "belongs to user \(file.owner), neither root nor the user of this process")
    }
    if file.mode & 0o022 != 0 {
      throw ModuleFileError(path, EPERM, "may be written by others than its owner; see chmod(1): go-w")
    }
    guard let text = String(validating: file.content, as: UTF8.self), text.hasSuffix("\n") else {
      throw Self.noKey(path)
    }
    let words = text.dropLast().split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    guard words.count == 3, let bytes = Hexadecimal.bytes(words[1]), KeyName.isValid(String(words[2])) else {
      throw Self.noKey(path)
    }
    isPrivate = file.mode & 0o077 == 0
    kind = String(words[0])
    self.bytes = bytes
    name = String(words[2])
  }

  static func noKey(_ path: String) -> ModuleFileError {
    ModuleFileError(path, EINVAL, "is not a key that `quiesce keygen` has written")
  }

  /// Writes a key to a file that was not there.
  static func create(
    _ path: String, _ kind: String, _ bytes: [UInt8], _ name: String, mode: mode_t
  ) throws(ModuleFileError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    if descriptor < 0 {
      throw ModuleFileError(
        path, errno, errno == EEXIST ? "is there already; a key is not overwritten" : "cannot be created")
    }
    let line = "\(kind) \(Hexadecimal.text(bytes)) \(name)\n"
    var error = RegularFile.write(Array(line.utf8), to: descriptor)
    if close(descriptor) != 0 && error == 0 { error = errno }
    if error != 0 {
      unlink(path)
      throw ModuleFileError(path, error, "cannot be written")
    }
  }
}

/// Bytes as pairs of digits.
enum Hexadecimal {
  static func text(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }

  /// Nil for anything else.
  static func bytes(_ text: Substring) -> [UInt8]? {
    let digits = text.utf8.map { UInt8(String(UnicodeScalar($0)), radix: 16) }
    if digits.count % 2 != 0 || digits.contains(nil) { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { (digits[$0] ?? 0) << 4 | (digits[$0 + 1] ?? 0) }
  }
}
