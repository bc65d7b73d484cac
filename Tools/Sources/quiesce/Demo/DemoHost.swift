import ControlProtocol
import Foundation
import Relay
import Synchronization
import ToolSupport

/// A `quiesce host` of the demo's own: another process, with a control socket in a directory that
/// goes with it.
final class DemoHost: Sendable {
  /// Where its relay listens.
  let address: SocketAddress
  let process: pid_t
  let controlPath: String

  private let directory: TemporaryDirectory
  private let log: LogTail
  /// As `wait(2)` gives it; nil while the host runs.
  private let status = Mutex<Int32?>(nil)

  /// Starts the host and waits until it serves. Blocks.
  init(forward: SocketAddress, workers: Int, moduleDirectory: String) throws {
    let directory = try TemporaryDirectory(prefix: "quiesce-demo")
    controlPath = directory.path + "/control"
    let child: ChildProcess
    do {
      child = try ChildProcess(
        arguments: [
          "quiesce", "host", "--listen", "127.0.0.1:0", "--forward", "\(forward)",
          "--workers", "\(workers)", "--control", controlPath,
          "--module-directory", moduleDirectory, "--exit-with-parent",
        ])
    } catch {
      directory.remove()
      throw error
    }
    self.directory = directory
    process = child.process
    log = LogTail(child.errors)
    let greeting = child.firstLine()
    close(child.output)
    guard let address = Self.address(in: greeting) else {
      throw Self.refusal(of: child, log, directory)
    }
    self.address = address
  }

  deinit { end() }

  /// Nil while the host runs; otherwise how it ended.
  var ended: String? {
    status.withLock { status in
      if status == nil {
        var found: Int32 = 0
        if waitpid(process, &found, WNOHANG) == process { status = found }
      }
      return status.map(Self.describe)
    }
  }

  /// What the host complained about last.
  var lastComplaint: String? { ended == nil ? log.lastComplaint : log.finalComplaint() }

  /// Asks the host to end, and ends it when it does not within `limit`. True when it ended with
  /// status 0.
  func stop(within limit: Duration) -> Bool {
    status.withLock { status in
      // Not waited for yet, so the number cannot be another process's.
      if status == nil { kill(process, SIGTERM) }
    }
    let deadline = ContinuousClock.now + limit
    while ended == nil && ContinuousClock.now < deadline { usleep(2000) }
    end()
    return status.withLock { $0 == 0 }
  }

  /// Ends the host at once, if it runs, and removes its directory. Any thread.
  func end() {
    status.withLock { status in
      if status == nil { status = Self.end(process) }
    }
    directory.remove()
  }

  private static func end(_ process: pid_t) -> Int32 {
    var status: Int32 = 0
    kill(process, SIGKILL)
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return status
  }

  private static func address(in greeting: String?) -> SocketAddress? {
    let words = greeting?.split(separator: " ") ?? []
    if words.count < 2 || words[0] != "listening" { return nil }
    return try? SocketAddress(parsing: String(words[1]))
  }

  /// The host did not come up, and has said why.
  private static func refusal(
    of child: ChildProcess, _ log: LogTail, _ directory: TemporaryDirectory
  ) -> DemoError {
    _ = end(child.process)
    let complaint = log.finalComplaint()
    directory.remove()
    return DemoError(description: "the host did not start" + (complaint.map { ": \($0)" } ?? ""))
  }

  private static func describe(_ status: Int32) -> String {
    let signal = status & 0x7f
    return signal == 0 ? "with status \(status >> 8 & 0xff)" : "of signal \(signal)"
  }
}

/// Why there was no demo, on one line.
struct DemoError: Error, CustomStringConvertible {
  let description: String
}
