import ControlProtocol
import Foundation
import ModuleManager

/// Modules by name and alias, with what they need.
extension HostService {
  /// Through the manager, and its module directory.
  public func request(
    _ module: String, parameters: [String: String], firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RequestReply {
    let plan = try asked { () throws(ModuleError) in try manager.plan(for: module) }
    if firstTime && plan.allSatisfy({ $0.isDependency || $0.isLoaded }) {
      throw ControlError(EEXIST, "\(module): is loaded already")
    }
    if !dryRun {
      try asked(for: [module] + plan.map(\.module), end) { () throws(ModuleError) in
        try manager.request(
          module, parameters: parameters, within: end.limit, cancelledBy: end.cancellation)
      }
    }
    return RequestReply(
      modules: plan.map {
        RequestedModule(
          module: $0.module, path: $0.path, wasLoaded: $0.isLoaded, isDependency: $0.isDependency)
      })
  }

  /// Through the manager.
  public func remove(
    _ module: String, firstTime: Bool, dryRun: Bool, _ end: RequestEnd
  ) throws(ControlError) -> RemoveReply {
    let plan = try asked { () throws(ModuleError) in try manager.plan(for: module) }
    let loaded = plan.filter { !$0.isDependency && $0.isLoaded }.map(\.module)
    if loaded.isEmpty && firstTime { throw ControlError(ENOENT, "\(module): no such module is loaded") }
    var gone: [String] = []
    var residentReason: String?
    // Gone already: as what another one needed.
    for name in loaded.reversed() where !gone.contains(name) {
      if dryRun {
        let more = try asked { () throws(ModuleError) in try manager.removalPlan(of: name) }
        gone += more.filter { !gone.contains($0) }
        continue
      }
      let (outcome, others) = try asked(for: [name], end) { () throws(ModuleError) in
        try manager.unloadWithUnused(
          name, ifBusy: .fail, within: end.limit, cancelledBy: end.cancellation)
      }
      gone += [name] + others
      residentReason = residentReason ?? reply(outcome, for: name).residentReason
    }
    return RemoveReply(modules: gone, residentReason: residentReason)
  }

  /// The manager's.
  public func configuration() -> [ModuleRules] {
    let configuration = manager.configuration
    return configuration.modules.map { ModuleRules(module: $0, configuration[$0]) }
  }

  /// Through the manager.
  public func parameters(of module: String) throws(ControlError) -> [ParameterRow] {
    try asked { () throws(ModuleError) in try manager.parameters(of: module) }.map { ParameterRow($0) }
  }

  /// Through the manager.
  public func set(
    _ parameter: String, of module: String, to value: String, _ end: RequestEnd
  ) throws(ControlError) {
    try asked(for: [module], end) { () throws(ModuleError) in
      try manager.set(
        parameter, of: module, to: value, within: end.limit, cancelledBy: end.cancellation)
    }
  }
}
