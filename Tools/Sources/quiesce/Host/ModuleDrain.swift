import ControlProtocol
import Foundation
import ModuleManager
import ToolSupport

/// Unloads everything that is loaded, together.
struct ModuleDrain {
  private let manager: ModuleManager

  /// How long to wait before modules are asked again whose `exit` has refused: no event says when
  /// it would agree.
  private static let interval = Duration.milliseconds(10)

  init(_ manager: ModuleManager) { self.manager = manager }

  /// Blocks until no module is loaded, or until `deadline`. Returns a line for each that stayed.
  func run(until deadline: ContinuousClock.Instant) -> [ControlError] {
    while true {
      let names = manager.list().map(\.name)
      let limit = max(.zero, ContinuousClock.now.duration(to: deadline))
      let unloads = (try? manager.unload(together: names, ifBusy: .wait, within: limit)) ?? []
      var refusals: [String: ModuleError] = [:]
      for unload in unloads {
        if case .failure(let error) = unload.result { refusals[unload.module] = error }
      }
      let modules = manager.list()
      let isOver = ContinuousClock.now >= deadline
      if isOver || modules.allSatisfy({ isHopeless($0, refusals, among: modules) }) {
        return modules.map { reason($0, refusals[$0.name]) }
      }
      Thread.sleep(forTimeInterval: Self.interval / .seconds(1))
    }
  }

  /// Live after a refusal to wait for its users: it is permanent. One whose `exit` refused may
  /// change its mind. What such a one needs stays with it.
  private func isHopeless(
    _ module: ModuleStatus, _ refusals: [String: ModuleError], among all: [ModuleStatus]
  ) -> Bool {
    // A request was still loading a module that needs it.
    if module.state == .live, let refusal = refusals[module.name], refusal.errno != EWOULDBLOCK {
      return true
    }
    return all.contains { module.dependents.contains($0.name) && isHopeless($0, refusals, among: all) }
  }

  /// A line for each module that is loaded now.
  var left: [ControlError] { manager.list().map { reason($0, nil) } }

  private func reason(_ module: ModuleStatus, _ refusal: ModuleError?) -> ControlError {
    if let refusal { return ControlError(refusal) }
    let holders = module.holders.map(\.description).joined(separator: ", ")
    let why = holders.isEmpty ? "" : ": \(holders)"
    return ControlError(
      EBUSY, "\(module.name): still \(module.state) after \(Int(module.age / .seconds(1))) s\(why)")
  }
}
