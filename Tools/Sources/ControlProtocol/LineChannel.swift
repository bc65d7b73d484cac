import CControl
import Foundation

/// Lines over a connected socket, which it owns. One thread at a time.
package final class LineChannel {
  package let descriptor: Int32
  private var buffer: LineBuffer
  private let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 16_384, alignment: 16)

  /// Takes over `descriptor`; the peer's lines may have `limit` bytes.
  package init(descriptor: Int32, limit: Int) {
    self.descriptor = descriptor
    buffer = LineBuffer(limit: limit)
  }

  deinit {
    chunk.deallocate()
    close(descriptor)
  }

  /// The next line, or nil when the stream ended behind one.
  ///
  /// `EBADMSG` when it ended inside one, `EMSGSIZE` when one is too long, `ETIMEDOUT` when no whole
  /// line came within `limit`. Blocks.
  package func readLine(within limit: Duration? = nil) throws(ControlError) -> Data? {
    let deadline = limit.map { ContinuousClock.now + $0 }
    while true {
      if let line = try buffer.next() { return line }
      if let deadline {
        let left = max(.zero, ContinuousClock.now.duration(to: deadline))
        // At least one look, and rounded up: the last wait must not end before the deadline.
        let milliseconds = Int32(min(left / .milliseconds(1) + 1, 1e9))
        if control_wait(descriptor, -1, milliseconds) == 0 {
          throw ControlError(ETIMEDOUT, "no request came for \(limit ?? .zero)")
        }
      }
      let count = control_receive(descriptor, chunk.baseAddress, chunk.count)
      // A peer that died with an answer unread resets the connection: an end like any other.
      if count == 0 || count == -Int(ECONNRESET) {
        if buffer.isEmpty { return nil }
        throw ControlError(EBADMSG, "the message ended before its newline")
      }
      if count < 0 { throw ControlError(Int32(-count), "cannot read from the connection") }
      buffer.append(UnsafeRawBufferPointer(rebasing: chunk[..<count]))
    }
  }

  /// Sends `line` and a newline. Blocks until the peer took it, or for as long as the socket
  /// allows.
  package func writeLine(_ line: Data) throws(ControlError) {
    var line = line
    line.append(UInt8(ascii: "\n"))
    var rest = line[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { control_send(descriptor, $0.baseAddress, $0.count, 1) }
      if count < 0 { throw ControlError(Int32(-count), "cannot write to the connection") }
      rest = rest.dropFirst(count)
    }
  }

  /// Ends both directions: the peer sees the end now.
  ///
  /// Closing alone is not enough while another thread polls the descriptor, as the server's does:
  /// poll(2) keeps the socket open until it returns, and the peer would see no end.
  package func hangUp() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Ends the sending side, and lets a peer that still sends finish: closing with bytes unread
  /// would reset the connection, possibly before the peer read the answer.
  package func finish(discardingAtMost limit: Int, milliseconds: Int32) {
    shutdown(descriptor, Int32(SHUT_WR))
    var left = limit
    while left > 0, control_wait(descriptor, -1, milliseconds) > 0 {
      let count = control_receive(descriptor, chunk.baseAddress, chunk.count)
      if count <= 0 { return }
      left -= count
    }
  }
}
