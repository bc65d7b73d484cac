import Bigref
import ControlProtocol
import ModuleManager

/// One version of a module in the place of another.
extension HostService {
  /// Through the manager. Files as for `insmod`.
  public func replace(
    _ module: String, with path: String, parameters: [String: String], _ end: RequestEnd
  ) throws(ControlError) -> ReplaceReply {
    let path = try self.path(of: path)
    let replacement = try asked(for: [module], end) { () throws(ModuleError) in
      try manager.replace(
        module, with: path, parameters: parameters, within: end.limit, cancelledBy: end.cancellation)
    }
    let old: RmmodReply
    var waitsFor: String?
    switch replacement.unload {
    case .success(.deferred(let holders)):
      old = reply(.deferred(holders: holders), for: module)
      waitsFor = whatKeeps(replacement.module.name, holders)
    case .success(let outcome): old = reply(outcome, for: module)
    case .failure(let error):
      old = reply(.deferred(holders: []), for: module)
      waitsFor = error.reason
    }
    return ReplaceReply(
      module: replacement.module.name, version: replacement.module.version, unmapped: old.unmapped,
      unloadMicroseconds: old.unloadMicroseconds, waitsFor: waitsFor,
      oldResidentReason: waitsFor == nil ? old.residentReason : nil,
      residentReason: replacement.module.residency, keepsState: replacement.keepsState,
      moduleCalls: old.moduleCalls)
  }

  private func whatKeeps(_ module: String, _ holders: [ModuleHolder]) -> String {
    if !holders.isEmpty { return "in use: " + holders.map(\.description).joined(separator: ", ") }
    let old = manager.list().first { $0.name == module && $0.state == .going }
    return old?.activity?.description ?? "is on its way"
  }
}
