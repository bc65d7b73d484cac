internal import Quiescence

/// A thread that stays inside a section of `Memb`, so that no grace period ends.
package final class ParkedReader: Sendable {
  private let goes = Parker(), left = Parker()

  /// Returns when the thread is inside.
  package init() async {
    let inside = Parker()
    let error = ServiceThread.start(named: "reader") { [goes, left] in
      Memb.read { _ in
        inside.open()
        goes.wait()
      }
      left.open()
    }
    precondition(error == 0, "no thread for a test: errno \(error)")
    await onThread { inside.wait() }
  }

  /// Has the thread leave its section.
  package func leave() { goes.open() }

  /// Returns when the thread has left its section.
  package func hasLeft() async { await onThread { self.left.wait() } }
}
