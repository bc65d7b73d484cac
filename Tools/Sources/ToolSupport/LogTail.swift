import Dispatch
import Foundation
import Synchronization

/// Reads what a child prints, so that it never waits for a full pipe, and remembers what it
/// complained about last; what modules print, and what becomes of them, is left out.
package final class LogTail: Sendable {
  private let last = Mutex<String?>(nil)
  private let end = DispatchSemaphore(value: 0)

  /// Closes `descriptor` when the child has closed its side.
  package init(_ descriptor: Int32) {
    // The thread keeps this object until then.
    Thread.start(named: "log-tail") { [self] in
      readAll(descriptor)
      close(descriptor)
      end.signal()
    }
  }

  /// So far.
  package var lastComplaint: String? { last.withLock { $0 } }

  /// Once the child has ended.
  package func finalComplaint() -> String? {
    if end.wait(timeout: .now() + 1) == .success { end.signal() }
    return lastComplaint
  }

  private func readAll(_ descriptor: Int32) {
    var rest: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return }
      rest += buffer[..<count]
      guard let newline = rest.lastIndex(of: UInt8(ascii: "\n")) else { continue }
      for line in rest[..<newline].split(separator: UInt8(ascii: "\n")) {
        look(at: String(decoding: line, as: UTF8.self))
      }
      rest.removeSubrange(...newline)
    }
  }

  private func look(at line: String) {
    let prefix = "quiesce: host: "
    if line.hasPrefix(prefix) {
      last.withLock { $0 = String(line.dropFirst(prefix.count)) }
    } else if line.contains("Fatal error: ") {
      last.withLock { $0 = line }
    }
  }
}
