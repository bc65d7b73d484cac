import Glibc

/// How a forked child ended.
package enum Forked: Equatable, Sendable {
  /// By `_exit` with this status.
  case exited(Int32)
  case killed(signal: Int32)
  /// It was still running after the limit.
  case hung

  /// Forks the process, runs `body` in the child, and ends the child with the value that `body`
  /// returns. Blocks.
  ///
  /// - Parameter delay: Kills the child after this many microseconds.
  package static func run(killedAfter delay: UInt32? = nil, _ body: () -> Int32) -> Forked {
    let child = fork()
    if child == 0 { _exit(body()) }
    if let delay {
      usleep(delay)
      kill(child, SIGKILL)
    }
    return wait(for: child)
  }

  /// The system call. 0 in the child.
  package static func fork() -> pid_t {
    // The Glibc module hides fork, because the child has only the calling thread. That is what is
    // tested.
    guard let symbol = dlsym(nil, "fork") else { fatalError("no fork") }
    let child = unsafeBitCast(symbol, to: (@convention(c) () -> pid_t).self)()
    precondition(child >= 0, "fork: errno \(errno)")
    return child
  }

  /// Waits for the end of a child. The limit only keeps a failing test from hanging.
  package static func wait(for child: pid_t) -> Forked {
    var status: Int32 = 0
    let end = ContinuousClock.now + .seconds(30)
    // The parent polls, because a child can hang before it has returned from fork.
    while true {
      let ended = waitpid(child, &status, WNOHANG)
      if ended == child { break }
      if ended == 0 && ContinuousClock.now > end {
        kill(child, SIGKILL)
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        return .hung
      }
      usleep(500)
    }
    let signal = status & 0x7f
    return signal == 0 ? .exited((status >> 8) & 0xff) : .killed(signal: signal)
  }
}
