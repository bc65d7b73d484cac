internal import CRelay
internal import Glibc

/// A joinable thread with every signal blocked.
package struct WorkerThread: @unchecked Sendable {
  // Unchecked for the thread's handle, which is a number.
  private let thread: pthread_t

  /// Runs `body` on a new thread, with `cargo` as its own. `niceness` is added to the thread's nice
  /// value, as in `nice(1)`.
  package init<Cargo: ~Copyable>(
    named name: String, niceness: Int32 = 0, carrying cargo: consuming sending Cargo,
    _ body: @escaping @Sendable (inout Cargo) -> Void
  ) throws(RelayError) {
    let start = Unmanaged<Start>.passRetained(CargoStart(cargo, body))
    var thread = pthread_t()
    let error = relay_thread_start(
      &thread, name, niceness,
      { opaque in
        // The argument of the call below.
        Unmanaged<Start>.fromOpaque(opaque!).takeRetainedValue().run()
      }, start.toOpaque())
    if error != 0 {
      start.release()
      throw RelayError(name, -error, "cannot start a thread")
    }
    self.thread = thread
  }

  /// Waits until the thread has ended. Call this once.
  package func join() { pthread_join(thread, nil) }
}

private class Start {
  func run() {}
}

/// A subclass of `Start`, because a C function cannot be generic.
private final class CargoStart<Cargo: ~Copyable>: Start {
  private var cargo: Cargo
  private let body: @Sendable (inout Cargo) -> Void

  init(_ cargo: consuming Cargo, _ body: @escaping @Sendable (inout Cargo) -> Void) {
    self.cargo = cargo
    self.body = body
  }

  override func run() { body(&cargo) }
}
