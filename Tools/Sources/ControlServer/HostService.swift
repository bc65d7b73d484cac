import Bigref
import ControlProtocol
import Foundation
import ModuleFiles
import ModuleManager
import Relay

/// A host's modules, objects and counters, for its control connections.
public final class HostService: ControlService {
  let manager: ModuleManager
  let pending = PendingRequests()
  private let directory: String
  private let statistics: @Sendable () -> RelayStatistics

  /// - Parameters:
  ///   - directory: where `NAME` is looked up as `NAME.so`.
  ///   - statistics: the relay's counters; called once a request, on any thread.
  public init(
    manager: ModuleManager, moduleDirectory directory: String,
    statistics: @escaping @Sendable () -> RelayStatistics
  ) {
    self.manager = manager
    self.directory = directory
    self.statistics = statistics
  }

  /// Loads through the manager. `EINVAL` for a name with anything but letters, digits, `_`, `-` and
  /// `.` in it; `ENOEXEC` for a file of another name than its module.
  public func insmod(
    _ module: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> InsmodReply {
    let path = try path(of: module)
    let status = try asked(for: [module], end) { () throws(ModuleError) in
      try manager.load(
        path: path, parameters: parameters, within: end.limit, cancelledBy: end.cancellation)
    }
    return InsmodReply(
      module: status.name, moduleCalls: statistics().moduleCalls, residentReason: status.residency)
  }

  /// Unloads through the manager, or names the holders of the module.
  public func rmmod(
    _ module: String, _ policy: UnloadPolicy, _ end: RequestEnd
  ) throws(ControlError) -> RmmodReply {
    return try asked(for: [module], end) { () throws(ModuleError) in
      reply(
        try manager.unload(
          module, ifBusy: policy.busyPolicy, within: end.limit, cancelledBy: end.cancellation),
        for: module)
    }
  }

  /// Unloads through the manager, which shares what they wait for.
  public func rmmod(
    together modules: [String], _ policy: UnloadPolicy, _ end: RequestEnd
  ) throws(ControlError) -> [UnloadRow] {
    let unloads = try asked(for: modules, end) { () throws(ModuleError) in
      try manager.unload(
        together: modules, ifBusy: policy.busyPolicy, within: end.limit, cancelledBy: end.cancellation)
    }
    return unloads.map { unload in
      switch unload.result {
      case .success(let outcome): UnloadRow(unload.module, reply(outcome, for: unload.module))
      case .failure(let error): UnloadRow(unload.module, ControlError(error))
      }
    }
  }

  /// Cancels the requests of clients for the module. Without one, gives up an unload that no client
  /// has asked for: the module itself, or the host, has.
  public func cancel(_ module: String) throws(ControlError) -> Int {
    let count = pending.cancel(module)
    guard count == 0, let attempt = manager.unloadAttempt(of: module) else { return count }
    do throws(ModuleError) { try attempt.cancel() } catch {
      // It has ended in between.
      if error.errno == ENOENT { return 0 }
      throw ControlError(error)
    }
    return 1
  }

  /// The manager's modules.
  public func lsmod() -> [ModuleRow] { manager.list().map { ModuleRow($0) } }

  /// The modules that the manager keeps in mind.
  public func unloaded() -> [UnloadedRow] { manager.recentlyUnloaded.map { UnloadedRow($0) } }

  /// The relay's counters.
  public func stat() -> RelayStatistics { statistics() }

  /// The manager's objects.
  public func objects() -> [String] { manager.objects() }

  /// Opens through the manager.
  public func open(
    _ object: String, holder: String
  ) throws(ControlError) -> any ControlObject {
    try asked { () throws(ModuleError) in try HeldObject(object, of: manager, for: holder) }
  }

  func reply(_ outcome: UnloadOutcome, for module: String) -> RmmodReply {
    let calls = statistics().moduleCalls
    switch outcome {
    case .unloaded(let report):
      return RmmodReply(
        module: report.module, unmapped: report.unmapped,
        unloadMicroseconds: Int(report.duration / .microseconds(1)), moduleCalls: calls)
    case .resident(_, let reason):
      return RmmodReply(
        module: module, unmapped: false, unloadMicroseconds: 0, residentReason: reason,
        moduleCalls: calls)
    case .deferred(let holders):
      let names = holders.map(\.description).joined(separator: ", ")
      return RmmodReply(
        module: module, unmapped: false, unloadMicroseconds: 0,
        residentReason: "it goes when these let go: \(names)", moduleCalls: calls)
    }
  }
}

extension HostService {
  /// What the manager answers to a request that takes no time.
  @discardableResult
  func asked<Answer>(_ body: () throws(ModuleError) -> Answer) throws(ControlError) -> Answer {
    do throws(ModuleError) { return try body() } catch { throw ControlError(error) }
  }

  /// What the manager answers to a request for these modules, which can be cancelled meanwhile.
  @discardableResult
  func asked<Answer>(
    for modules: [String], _ end: RequestEnd, _ body: () throws(ModuleError) -> Answer
  ) throws(ControlError) -> Answer {
    try pending.during(modules, end) { () throws(ControlError) in try asked(body) }
  }
}

extension UnloadPolicy {
  fileprivate var busyPolicy: BusyPolicy {
    switch self {
    case .fail: .fail
    case .wait: .wait
    case .whenIdle: .whenIdle
    case .force: .force
    }
  }
}

extension HostService {
  /// Where the image is. A name cannot leave the directory: it has no slash.
  func path(of module: String) throws(ControlError) -> String {
    if module.utf8.contains(0) {
      throw ControlError(EINVAL, "\(module): a path has no zero bytes")
    }
    let path: String
    if module.hasPrefix("/") {
      path = module
    } else {
      if !ModuleName.isValid(module) {
        throw ControlError(
          EINVAL, "\(module): a module's name has 1 to 64 letters, digits, `_`, `-` and `.` only")
      }
      path = try file(of: module)
    }
    // A file that says nothing, or cannot be read, is the manager's to refuse.
    if let info = try? ModuleInfo(path: path) {
      do throws(ModuleFileError) { try info.checkName() } catch { throw ControlError(error) }
    }
    return path
  }

  /// The file of that name in the directory; `-` and `_` are equal.
  private func file(of module: String) throws(ControlError) -> String {
    let path = "\(directory)/\(module).so"
    if access(path, F_OK) == 0 { return path }
    let code = errno
    if code != ENOENT { throw ControlError(code, "\(module): cannot look it up in \(directory)") }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let key = ModuleName.key(module)
    guard
      let other = names.first(where: { $0.hasSuffix(".so") && ModuleName.key(ModuleName.ofFile($0)) == key })
    else { throw ControlError(code, "\(module): no such module in \(directory)") }
    return "\(directory)/\(other)"
  }
}
