import ControlProtocol
import Foundation

/// Lines for people: one `write` a line, so that threads do not mix their lines.
package enum StandardError {
  /// Writes `line` on one line, whatever is in it. A reader that is gone is not an error.
  package static func write(_ line: String) {
    put(line, to: STDERR_FILENO)
  }
}

/// Lines for programs, and for people: what a command was asked for.
package enum StandardOutput {
  /// Writes `line` at once, also into a pipe.
  package static func write(_ line: String) {
    put(line, to: STDOUT_FILENO)
  }

  /// Writes bytes as they are.
  package static func write(bytes: some Collection<UInt8>) {
    _ = Bytes.write(Array(bytes), to: STDOUT_FILENO)
  }
}

private func put(_ line: String, to descriptor: Int32) {
  _ = Bytes.write(Array("\(line.onOneLine)\n".utf8), to: descriptor)
}

/// Bytes to a descriptor.
package enum Bytes {
  /// Writes all of them; blocks. 0, or the errno of what could not be written.
  package static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return count < 0 ? errno : EIO }
      rest = rest.dropFirst(count)
    }
    return 0
  }
}
