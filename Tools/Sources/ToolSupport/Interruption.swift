import Foundation

/// SIGINT, SIGTERM and SIGHUP as something to look for between two steps, so that nothing is left
/// behind.
package struct Interruption: @unchecked Sendable {
  // Unchecked for the set of signals, which never changes.
  private let signals: sigset_t

  /// Blocks them in this thread and in those that it starts from now on.
  package init() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    // A reader that has gone shows as EPIPE.
    signal(SIGPIPE, SIG_IGN)
    self.signals = signals
  }

  /// Blocks for `duration` at most; true when one of the signals arrived.
  package func wait(for duration: Duration) -> Bool {
    let (seconds, attoseconds) = duration.components
    var limit = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    var signals = signals
    return sigtimedwait(&signals, nil, &limit) > 0
  }

  /// From now on one of the signals makes the process run `cleanUp` and end at once, as if it had
  /// been killed.
  package func endProcess(after cleanUp: @escaping @Sendable () -> Void) {
    let signals = signals
    Thread.start(named: "signals") {
      var signals = signals
      var number: Int32 = 0
      while sigwait(&signals, &number) != 0 {}
      cleanUp()
      _exit(128 + number)
    }
  }
}
