import ControlClient
import ControlProtocol
import ControlServer
import Foundation
import ModuleManager
import ModuleSigning
import Relay
import ToolSupport

/// A relay, its modules, and the control connection to both.
final class Host: Sendable {
  private let relay: Relay
  private let manager = ModuleManager()
  private let server: ControlServer
  /// Nil without a path for it.
  private let readOnlyServer: ControlServer?
  private let events: EventLog
  /// To standard error: a reader that does not read must not block the host.
  private let log: LineWriter
  private let forward: SocketAddress
  private let workers: Int

  /// Claims the addresses and the control socket, and serves nothing yet.
  init(
    listen: String, forward: String, workers: Int, flowTimeout: Duration, control: String,
    readOnlyControl: String?, log: LineWriter, moduleDirectory: String,
    configuration: ModuleConfiguration = ModuleConfiguration(), keys: [VerifyingKey] = []
  ) throws {
    // For good, and before a client can ask for a module.
    if !keys.isEmpty { manager.require(.signed(by: keys)) }
    self.forward = try SocketAddress(parsing: forward)
    self.workers = workers
    let relay = try Relay(
      listen: try SocketAddress(parsing: listen), forward: self.forward, workers: workers,
      flowTimeout: flowTimeout)
    self.relay = relay
    self.log = log
    let service = HostService(
      manager: manager, moduleDirectory: moduleDirectory, statistics: { relay.statistics })
    let refused: @Sendable (String) -> Void = { log.write("quiesce: host: \($0)") }
    server = try ControlServer(path: control, service: service, log: refused)
    do {
      readOnlyServer = try readOnlyControl.map { path in
        try ControlServer(path: path, service: service, access: .readOnly, log: refused)
      }
    } catch {
      server.stop(within: .zero)
      throw error
    }
    events = EventLog(manager.events(), log)
    // It may be missing: modules can be loaded by path all the same, and a request says what is
    // wrong.
    try manager.setDirectory(moduleDirectory, isChecked: false)
    manager.configure(configuration)
    manager.provide(relay.prerouting)
    manager.provide(relay.forward)
    manager.provide(relay.postrouting)
    manager.setLog { module, line in log.write("\(module): \(line)") }
  }

  /// Serves from here on.
  func start() throws {
    do {
      try relay.start()
    } catch {
      server.stop(within: .zero)
      readOnlyServer?.stop(within: .zero)
      throw error
    }
    server.start()
    readOnlyServer?.start()
  }

  /// Reads the rules again. Requests that come after it follow them; what is loaded stays as it is.
  /// If they are wrong, the old ones stay, and the log says what is wrong.
  func readConfiguration(_ path: String) {
    do throws(ControlError) {
      manager.configure(try ConfigurationDirectory(path: path).configuration)
      say("\(path): the configuration was read again")
    } catch {
      say("\(error); the old configuration stays")
    }
  }

  /// The one line that says that the host serves.
  var greeting: String {
    "listening \(relay.boundAddress) (forwarding to \(forward), "
      + "\(workers) \(workers == 1 ? "worker" : "workers"), control \(server.path))"
  }

  /// How long clients and modules have to end, and how long everything together has. Logging takes
  /// less than a second more, so the host ends within 10 s.
  private static let drainLimit = Duration.seconds(6), stopLimit = Duration.seconds(7)

  /// Hangs up on the clients, unloads every module, and stops the relay, within 8 s altogether.
  /// False when a module stays, or when a step does not end: the log says which and why then.
  func stop() -> Bool {
    let deadline = ContinuousClock.now + Self.drainLimit
    // On a thread of its own: each step may run into code of a module that does not return.
    let stop = TimedWork(named: "stop") { [self] in stopAll(until: deadline) }
    if let stayed = stop.result(within: Self.stopLimit) {
      for module in stayed { say("\(module)") }
      return stayed.isEmpty
    }
    // On another thread: a thread that does not go on may hold a lock that the list needs.
    let list = TimedWork(named: "list") { [self] in ModuleDrain(manager).left }
    for module in list.result(within: .milliseconds(200)) ?? [] { say("\(module)") }
    say("not everything ended within \(Int(Self.stopLimit / .seconds(1))) s")
    return false
  }

  /// Also behind a flood of lines from modules.
  private func say(_ line: String) { log.write("quiesce: host: \(line)", isEssential: true) }

  /// Returns a line for each module that stayed.
  private func stopAll(until deadline: ContinuousClock.Instant) -> [ControlError] {
    // First: an object that a client has open keeps its module loaded. Not for long: a request that
    // does not end must not keep the other modules loaded.
    readOnlyServer?.stop(within: .zero)
    server.stop(within: .seconds(1))
    let stayed = ModuleDrain(manager).run(until: deadline)
    // A module that stays may hold a thread of the relay in its hook: the process ends without it.
    if !stayed.isEmpty { return stayed }
    events.settle(within: .seconds(1))
    relay.stop()
    return []
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
