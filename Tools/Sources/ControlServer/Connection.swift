import CControl
import ControlProtocol
import Foundation
import Synchronization
import ToolSupport

/// One client's thread: reads a line, writes the reply, until either side ends it.
struct Connection {
  private let channel: LineChannel
  private let session: Session
  private let idleLimit: Duration

  /// How long the server waits for a client that does not read its reply; then it hangs up.
  private static let sendSeconds: Int32 = 10

  /// Starts the thread. It leaves its place when the client's objects are closed.
  static func start(
    channel: sending LineChannel, place: ConnectionSet.Place, session: sending Session, idleLimit: Duration
  ) {
    let handover = Handover(Connection(channel: channel, session: session, idleLimit: idleLimit))
    Thread.start(named: "control-client") {
      let connection = handover.take()
      connection.serve()
      // First the objects, then the place, then the descriptor: a client that gets the place finds
      // the objects closed, and no other thread hangs up on a descriptor that has another owner by
      // then.
      connection.session.end()
      connection.channel.hangUp()
      withExtendedLifetime(connection) { place.leave() }
    }
  }

  private func serve() {
    _ = control_limit_send(channel.descriptor, Self.sendSeconds)
    do throws(ControlError) {
      while let line = try nextLine() {
        guard let reply = session.answer(line) else { return }
        try channel.writeLine(reply)
      }
    } catch {
      // Where the next line starts is unknown, or the client is idle or gone: a reply, if it can be
      // sent.
      if (try? channel.writeLine(session.refusal(error))) == nil { return }
      channel.finish(discardingAtMost: 16 * Request.limit, milliseconds: 1000)
    }
  }

  /// The next request. The wait for it has a limit, unless the client has an object open.
  private func nextLine() throws(ControlError) -> Data? {
    try channel.readLine(within: session.isIdle ? idleLimit : nil)
  }
}

/// Carries a value to a thread: to the compiler, `Thread` may call its closure twice.
private final class Handover<Value>: Sendable {
  private let content: Mutex<Content?>

  private struct Content: @unchecked Sendable {
    // Unchecked: sent here, taken out once, and not touched by the sender again.
    let value: Value
  }

  init(_ value: sending Value) {
    content = Mutex(Content(value: value))
  }

  func take() -> Value {
    guard let content = content.withLock({ $0.take() }) else {
      fatalError("a connection's thread ran twice")
    }
    return content.value
  }
}
