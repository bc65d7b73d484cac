import CControl
import Foundation
import Synchronization

/// One client's thread: reads a line, writes the reply, until either side ends it.
struct Connection {
  private let channel: LineChannel
  private let session: Session

  /// How long a client may refuse to take a reply before it is hung up on.
  private static let sendSeconds: Int32 = 10

  /// Starts the thread. It gives its place back when the client's objects are closed.
  static func start(
    channel: sending LineChannel, place: ConnectionSet.Place, session: sending Session
  ) {
    let handover = Handover(channel: channel, session: session)
    Thread.start(named: "control-client") {
      let connection = handover.take()
      connection.serve()
      // First the objects, then the place, then the descriptor: a thread that waits for the place
      // finds the objects closed, and no thread hangs up on a descriptor that has another owner.
      connection.session.end()
      withExtendedLifetime(connection) { place.leave() }
    }
  }

  private func serve() {
    _ = control_limit_send(channel.descriptor, Self.sendSeconds)
    do throws(ControlError) {
      while let line = try channel.readLine() {
        guard let reply = session.answer(line) else { return }
        try channel.writeLine(reply)
      }
    } catch {
      // Where the next line starts is unknown, or the client is gone: a reply, if it can be had.
      if (try? channel.writeLine(session.refusal(error))) == nil { return }
      channel.finish(discardingAtMost: 16 * Request.limit, milliseconds: 1000)
    }
  }

  /// Carries the connection to its thread: `Thread` takes a closure that may be called twice.
  private final class Handover: Sendable {
    private let content: Mutex<Content?>

    private struct Content: @unchecked Sendable {
      // Unchecked: sent here, taken out once, and not touched by the sender again.
      let channel: LineChannel
      let session: Session
    }

    init(channel: sending LineChannel, session: sending Session) {
      content = Mutex(Content(channel: channel, session: session))
    }

    func take() -> Connection {
      guard let content = content.withLock({ $0.take() }) else {
        fatalError("a connection's thread ran twice")
      }
      return Connection(channel: content.channel, session: content.session)
    }
  }
}
