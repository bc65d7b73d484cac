internal import Glibc

/// A file below `/proc`, whose size is known only when it is read.
enum ProcessFile {
  /// All of it, as bytes. Throws the error number.
  static func bytes(_ path: String) throws(FileError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    if descriptor < 0 { throw FileError(errno: errno) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 12)
    while true {
      let count = Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count < 0 { throw FileError(errno: errno) }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      // Longer ones in fewer calls.
      if count == buffer.count && count < 1 << 16 { buffer = [UInt8](repeating: 0, count: count * 4) }
    }
  }

  /// All of it, as text; nil if it cannot be read.
  static func text(_ path: String) -> String? {
    (try? bytes(path)).map { String(decoding: $0, as: UTF8.self) }
  }
}
