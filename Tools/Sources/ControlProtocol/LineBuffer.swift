import Foundation

/// Cuts a stream of bytes into lines of a limited length.
package struct LineBuffer {
  /// The longest line, without its newline.
  package let limit: Int

  private var bytes: [UInt8] = []
  private var start = 0
  private var searched = 0

  package init(limit: Int) {
    self.limit = limit
  }

  /// Whether bytes wait for the rest of their line.
  package var isEmpty: Bool { start == bytes.count }

  /// Takes the next whole line, without its newline.
  ///
  /// `EMSGSIZE` when what waits is too long for a line: where the next one starts is unknown then.
  ///
  /// - Complexity: O(bytes appended since the last call).
  package mutating func next() throws(ControlError) -> Data? {
    let newline = bytes[searched...].firstIndex(of: UInt8(ascii: "\n"))
    if (newline ?? bytes.count) - start > limit {
      throw ControlError(EMSGSIZE, "the message is longer than \(limit) bytes")
    }
    guard let newline else {
      searched = bytes.count
      return nil
    }
    let line = Data(bytes[start..<newline])
    start = newline + 1
    searched = start
    return line
  }

  /// Appends what arrived.
  package mutating func append(_ arrived: UnsafeRawBufferPointer) {
    // Lines that were taken leave room, so that a long conversation does not grow the buffer.
    if start > 0 {
      bytes.removeSubrange(..<start)
      searched -= start
      start = 0
    }
    bytes.append(contentsOf: arrived)
  }
}
