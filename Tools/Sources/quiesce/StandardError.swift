import Control
import Foundation

/// Lines for people: one `write` a line, so that the lines of threads do not mix.
enum StandardError {
  /// Writes `line` on one line, whatever is in it. A reader that has gone is not an error.
  static func write(_ line: String) {
    put(line, to: STDERR_FILENO)
  }
}

/// Lines that were asked for.
enum StandardOutput {
  /// Writes `line` at once, also into a pipe.
  static func write(_ line: String) {
    put(line, to: STDOUT_FILENO)
  }

  /// Writes bytes as they are.
  static func write(bytes: some Collection<UInt8>) {
    putBytes(Array(bytes), to: STDOUT_FILENO)
  }
}

private func put(_ line: String, to descriptor: Int32) {
  putBytes(Array("\(line.onOneLine)\n".utf8), to: descriptor)
}

private func putBytes(_ bytes: [UInt8], to descriptor: Int32) {
  var rest = bytes[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
    if count < 0 && errno == EINTR { continue }
    if count <= 0 { return }
    rest = rest.dropFirst(count)
  }
}
