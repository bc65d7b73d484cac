import Foundation

extension Thread {
  /// Starts a detached thread of that name. What blocks in it holds up no other one.
  package static func start(named name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.start()
  }
}
