internal import _QuiescenceShims

/// A thread that the library starts itself: detached, named, with every signal blocked
/// except those of instructions that fail.
package enum ServiceThread {
  /// Runs `body` on a new thread. Returns 0 or an errno.
  package static func start(named name: String, _ body: @escaping @Sendable () -> Void) -> Int32 {
    let start = Unmanaged.passRetained(Start(body))
    let error = qs_thread_start(
      name,
      { opaque in
        // The argument of the call below.
        Unmanaged<Start>.fromOpaque(opaque!).takeRetainedValue().body()
      }, start.toOpaque())
    if error != 0 { start.release() }
    return error
  }

  /// The kernel's id of the calling thread.
  package static var currentID: Int32 { qs_thread_id() }

  /// Whether the calling thread runs retired callbacks, and must not wait for them.
  package static var isReclaiming: Bool { qs_thread_reclaims() }

  private final class Start: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
      self.body = body
    }
  }
}
