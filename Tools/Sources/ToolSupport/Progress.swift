import ControlProtocol
import Foundation
import Synchronization

/// A line on the terminal that says what a request waits for, once it has taken longer than a
/// second. Where standard error is no terminal there is nothing.
package final class Progress: Sendable {
  private struct State {
    var isOver = false
    var isShown = false
  }

  private let state = Mutex(State())

  /// Runs `body`. Meanwhile `look` says on a thread of its own, about twice a second, what there is
  /// to say; nil for nothing.
  package static func showing<Result, Failure: Error>(
    _ look: @escaping @Sendable () -> String?, while body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let terminal = isatty(STDERR_FILENO) != 0 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    if !terminal { return try body() }
    let progress = Progress()
    Thread.start(named: "progress") { progress.run(look) }
    defer { progress.end() }
    return try body()
  }

  private func run(_ look: @Sendable () -> String?) {
    let start = ContinuousClock.now
    Thread.sleep(forTimeInterval: 1)
    while !state.withLock({ $0.isOver }) {
      if let text = look() {
        let seconds = Int(start.duration(to: .now) / .seconds(1))
        show("\(text.onOneLine) (\(seconds) s)")
      }
      Thread.sleep(forTimeInterval: 0.5)
    }
  }

  private func show(_ text: String) {
    // Under the lock: what comes after the end would stay.
    state.withLock { state in
      if state.isOver { return }
      state.isShown = true
      Self.put("\r\u{1b}[K\(text.prefix(Self.columns - 1))")
    }
  }

  private func end() {
    state.withLock { state in
      state.isOver = true
      if state.isShown { Self.put("\r\u{1b}[K") }
    }
  }

  private static func put(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

  /// A line that is longer could not be taken back.
  private static var columns: Int {
    var size = winsize()
    let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 10
    return isKnown ? Int(size.ws_col) : 80
  }
}
