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
    waitForLoads(until: ContinuousClock.now + ContinuousClock.now.duration(to: deadline) / 2)
    while true {
      let names = manager.list().map(\.name)
      // In tenths of a second: refusals print it.
      let tenths = max(0, Int(ContinuousClock.now.duration(to: deadline) / .milliseconds(100)))
      let limit = Duration.milliseconds(100 * tenths)
      let unloads = (try? manager.unload(together: names, ifBusy: .wait, within: limit)) ?? []
      var refusals: [String: ModuleError] = [:]
      for unload in unloads {
        if case .failure(let error) = unload.result { refusals[unload.module] = error }
      }
      let modules = manager.list()
      let isOver = ContinuousClock.now + .milliseconds(100) >= deadline
      if isOver || modules.allSatisfy({ isHopeless($0, refusals, among: modules) }) {
        return modules.map { reason($0, refusals[$0.name]) }
      }
      Thread.sleep(forTimeInterval: Self.interval / .seconds(1))
    }
  }

  /// A module whose `init` runs refuses to be unloaded, and the unload of the others may take all
  /// the time that is left. So the drain begins when the loads have ended, or at `deadline`.
  private func waitForLoads(until deadline: ContinuousClock.Instant) {
    while manager.list().contains(where: { $0.state == .coming }) && ContinuousClock.now < deadline {
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
    let reasons = [module.activity.map { "\($0)" } ?? "", holders.isEmpty ? "" : "in use: \(holders)"]
    let line = ["is still \(module.state)"] + reasons.filter { !$0.isEmpty }
    return ControlError(EBUSY, "\(module.name): \(line.joined(separator: ", "))")
  }
}
