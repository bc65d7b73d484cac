import CControl
import Foundation

/// SIGTERM, SIGINT and SIGHUP as something to wait for, instead of an interruption.
package struct TerminationSignals: @unchecked Sendable {
  // Unchecked for the set of signals, which does not change.
  private var set = sigset_t()

  /// Blocks them in this thread and in those that it starts from now on. Before any other thread
  /// starts.
  ///
  /// - Parameter handlesHangup: Waits for SIGHUP also where it was ignored: it does not end the
  ///   process.
  package init(handlesHangup: Bool = false) {
    sigemptyset(&set)
    for signal in [SIGTERM, SIGINT] { sigaddset(&set, signal) }
    if handlesHangup || !Self.ignoresHangup { sigaddset(&set, SIGHUP) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
    // A reader of standard error that has gone must not end the host either.
    signal(SIGPIPE, SIG_IGN)
  }

  /// Started by nohup: a blocked signal would arrive even though it is ignored.
  private static var ignoresHangup: Bool {
    var action = sigaction()
    sigaction(SIGHUP, nil, &action)
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  /// Blocks the calling thread until one of them arrives; returns it. Later ones stay blocked.
  @discardableResult
  package func wait() -> Int32 {
    var set = set
    var number: Int32 = 0
    while sigwait(&set, &number) != 0 {}
    return number
  }

  /// From now on, one of them ends the process at once, with the status of a process that was
  /// killed by it.
  package func endProcessAtNext() {
    Thread.start(named: "signals") {
      let number = wait()
      _exit(128 + number)
    }
  }

  /// Sends the process SIGTERM when its parent ends. Returns 0 or an errno.
  package static func sendWithParent() -> Int32 {
    let parent = process_open_parent()
    if parent == -ESRCH {
      kill(getpid(), SIGTERM)
      return 0
    }
    if parent < 0 { return -parent }
    Thread.start(named: "parent") {
      while control_wait(parent, -1, -1) != 1 {}
      kill(getpid(), SIGTERM)
    }
    return 0
  }
}
