import ControlProtocol
import Foundation
import Synchronization

/// Writes lines to a descriptor without ever blocking the caller: for a process that must go on
/// when its output is a pipe that is not read.
///
/// A thread of its own writes. What it has not written yet is kept, up to a limit; further lines
/// are dropped and counted, and the count is a line where they are missing. The descriptor keeps
/// its mode: `O_NONBLOCK` belongs to the open file, which other processes may share.
package final class LineWriter: Sendable {
  /// What is kept, in bytes, and how long a line may be.
  package static let limit = 256 << 10, lineLimit = 8 << 10

  private struct State {
    var lines: [[UInt8]] = []
    var bytes = 0
    var dropped = 0
    /// Whether the thread is in a `write`.
    var isWriting = false
    var isStarted = false
  }

  private let descriptor: Int32
  private let name: String
  private let state = Mutex(State())
  /// Signaled when there is something to write.
  private let work = DispatchSemaphore(value: 0)

  /// - Parameter name: Of the process, in the line that counts what was dropped. The thread starts
  ///   with the first line.
  package init(_ descriptor: Int32, name: String) {
    self.descriptor = descriptor
    self.name = name
  }

  /// Adds a line, whatever is in it; cut when it is longer than ``lineLimit``. Any thread; does not
  /// wait.
  ///
  /// - Parameter isEssential: Keeps the line beyond the limit: for the few lines at the end.
  package func write(_ line: String, isEssential: Bool = false) {
    var bytes = Array(line.onOneLine.utf8)
    if bytes.count > Self.lineLimit {
      // Not in the middle of a character: its other bytes begin with the bits 10.
      var end = Self.lineLimit
      while end > 0 && bytes[end] & 0xc0 == 0x80 { end -= 1 }
      bytes.replaceSubrange(end..., with: "…".utf8)
    }
    bytes.append(UInt8(ascii: "\n"))
    let isFirst: Bool? = state.withLock { state in
      if state.bytes + bytes.count > Self.limit && !isEssential {
        state.dropped += 1
        return nil
      }
      state.lines.append(bytes)
      state.bytes += bytes.count
      defer { state.isStarted = true }
      return !state.isStarted
    }
    guard let isFirst else { return }
    work.signal()
    if isFirst { Thread.start(named: "lines") { [self] in while true { writeNext() } } }
  }

  /// Waits until all lines are written, for `limit` at most. False when some are not.
  @discardableResult
  package func flush(within limit: Duration) -> Bool {
    let deadline = ContinuousClock.now + limit
    while !isWritten {
      if ContinuousClock.now >= deadline { return false }
      Thread.sleep(forTimeInterval: 0.001)
    }
    return true
  }

  private var isWritten: Bool { state.withLock { $0.lines.isEmpty && !$0.isWriting && $0.dropped == 0 } }

  private func writeNext() {
    work.wait()
    // All lines in one write: a slow reader causes few system calls.
    let bytes = state.withLock { state in
      var bytes = Array(state.lines.joined())
      state.lines = []
      state.bytes = 0
      state.isWriting = true
      // The dropped lines came after the kept ones, and before all later ones.
      if state.dropped > 0 {
        bytes += "\(name): \(state.dropped) lines dropped: they came faster than they were read\n".utf8
      }
      state.dropped = 0
      return bytes
    }
    // A reader that is gone is not an error.
    if !bytes.isEmpty { _ = Bytes.write(bytes, to: descriptor) }
    state.withLock { $0.isWriting = false }
  }
}
