import Foundation
import Synchronization

@testable import ControlClient
@testable import ControlProtocol
@testable import ControlServer

/// A server with a fake host behind it, which ends with the test.
final class TestServer: Sendable {
  let service = FakeService()
  let log = Mutex<[String]>([])
  private let directory: TemporaryDirectory
  private let server = Mutex<ControlServer?>(nil)

  var path: String { directory.file("s") }

  init(
    limit: Int = 64, user: UInt32 = geteuid(), idleLimit: Duration = .seconds(60),
    access: ControlServer.Access = .control
  ) throws {
    directory = try TemporaryDirectory()
    let server = try ControlServer(
      path: directory.file("s"), service: service, access: access, maximumConnections: limit,
      idleLimit: idleLimit, user: user,
      log: { [self] line in log.withLock { $0.append(line) } })
    server.start()
    self.server.withLock { $0 = server }
  }

  /// Breaks the cycle through the log, too.
  @discardableResult
  func stop() -> Bool {
    server.withLock { $0.take() }?.stop(within: .seconds(60)) ?? true
  }

  func connect() throws -> ControlClient { try ControlClient(path: path) }
}
