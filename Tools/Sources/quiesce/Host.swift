import Control
import Foundation
import ModuleManager
import Relay

/// A relay, its modules, and the control connection to both.
final class Host: Sendable {
  private let relay: Relay
  private let manager = ModuleManager()
  private let server: ControlServer
  private let events: EventLog
  private let forward: SocketAddress
  private let workers: Int

  /// Claims the addresses and the control socket, and serves nothing yet.
  init(
    listen: String, forward: String, workers: Int, flowTimeout: Duration, control: String,
    moduleDirectory: String, configuration: ModuleConfiguration = ModuleConfiguration()
  ) throws {
    self.forward = try SocketAddress(parsing: forward)
    self.workers = workers
    let relay = try Relay(
      listen: try SocketAddress(parsing: listen), forward: self.forward, workers: workers,
      flowTimeout: flowTimeout)
    self.relay = relay
    server = try ControlServer(
      path: control,
      service: HostService(
        manager: manager, moduleDirectory: moduleDirectory, statistics: { relay.statistics }),
      log: { StandardError.write("quiesce: host: \($0)") })
    events = EventLog(manager.events())
    // It may be missing: modules can be loaded by path all the same, and a request says what is
    // wrong.
    try manager.setDirectory(moduleDirectory, isChecked: false)
    manager.configure(configuration)
    manager.provide(relay.prerouting)
    manager.provide(relay.forward)
    manager.provide(relay.postrouting)
    manager.setLog { module, line in StandardError.write("\(module): \(line)") }
  }

  /// Serves from here on.
  func start() throws {
    do {
      try relay.start()
    } catch {
      server.stop(within: .zero)
      throw error
    }
    server.start()
  }

  /// The one line that says that the host serves.
  var greeting: String {
    "listening \(relay.boundAddress) (forwarding to \(forward), "
      + "\(workers) \(workers == 1 ? "worker" : "workers"), control \(server.path))"
  }

  /// Hangs up on the clients, unloads every module, and stops the relay. False when a module would
  /// not go: its holders are on standard error then.
  func stop(within limit: Duration) -> Bool {
    let deadline = ContinuousClock.now + limit
    // First: what clients hold open keeps its module loaded.
    server.stop(within: limit)
    let stayed = ModuleDrain(manager).run(until: deadline)
    for module in stayed {
      StandardError.write("quiesce: host: \(module)")
    }
    if stayed.isEmpty { events.settle(within: .seconds(1)) }
    relay.stop()
    return stayed.isEmpty
  }

  /// Throws when there is no such directory.
  static func checkDirectory(_ path: String) throws(ControlError) {
    var status = stat()
    if stat(path, &status) != 0 {
      let code = errno
      throw ControlError(
        code, "\(path): \(code == ENOENT ? "no such module directory" : "cannot open the module directory")")
    }
    if status.st_mode & S_IFMT != S_IFDIR { throw ControlError(ENOTDIR, "\(path): not a directory") }
  }
}
