import Control
import Foundation
import ModuleManager
import Synchronization

/// Unloads everything that is loaded: all at once, so that none waits for another's users.
final class ModuleDrain: Sendable {
  private let manager: ModuleManager
  private let state = Mutex(State())

  private struct State {
    var unloading: Set<String> = []
    var refusals: [String: ModuleError] = [:]
  }

  /// How often to look whether modules have gone that somebody else is unloading.
  private static let interval = Duration.milliseconds(10)

  init(_ manager: ModuleManager) {
    self.manager = manager
  }

  /// Blocks until no module is loaded, or until `deadline`. Returns a line for each that stayed.
  func run(until deadline: ContinuousClock.Instant) -> [ControlError] {
    while true {
      let modules = manager.list()
      if modules.allSatisfy({ isHopeless($0, among: modules) }) || ContinuousClock.now >= deadline {
        return modules.map(reason)
      }
      // Those that others need come in a later round.
      for module in modules where module.dependents.isEmpty && !isHopeless(module, among: modules) {
        startUnload(module)
      }
      Thread.sleep(forTimeInterval: Self.interval / .seconds(1))
    }
  }

  /// Live after a refusal to wait for its users: it is permanent. One whose `exit` refused may change its mind. What such
  /// a one needs stays with it.
  private func isHopeless(_ module: ModuleStatus, among all: [ModuleStatus]) -> Bool {
    let refusal = state.withLock { $0.refusals[module.name] }
    // Somebody was still loading what needs it.
    if module.state == .live, let refusal, refusal.errno != EWOULDBLOCK { return true }
    return all.contains { module.dependents.contains($0.name) && isHopeless($0, among: all) }
  }

  private func startUnload(_ module: ModuleStatus) {
    let name = module.name
    // One that is going already is somebody else's, and ends without this.
    if module.state == .going || !state.withLock({ $0.unloading.insert(name).inserted }) { return }
    Task.detached { [self] in
      var refusal: ModuleError?
      do throws(ModuleError) {
        _ = try await manager.unload(name, ifBusy: .wait)
      } catch {
        refusal = error
      }
      state.withLock { [refusal] state in
        state.unloading.remove(name)
        state.refusals[name] = refusal
      }
    }
  }

  private func reason(_ module: ModuleStatus) -> ControlError {
    if let refusal = state.withLock({ $0.refusals[module.name] }) { return ControlError(refusal) }
    let holders = module.holders.map(\.description).joined(separator: ", ")
    let why = holders.isEmpty ? "" : ": \(holders)"
    return ControlError(EBUSY, "\(module.name): still \(module.state)\(why)")
  }
}
