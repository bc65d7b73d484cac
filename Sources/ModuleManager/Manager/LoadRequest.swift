internal import Quiescence

/// A request for modules by name, which callers share, from its beginning to its answer. On the
/// manager's queue.
final class LoadRequest: Sendable {
  typealias Done = ModuleManager.Completion<[ModuleStatus]>

  /// What was asked for.
  let name: String
  let parameters: [String: String]
  /// Called before it is answered, and when its last caller has gone: a caller that asks from then
  /// on asks anew.
  private let isOver: @Sendable (LoadRequest) -> Void
  private let state = Locked(State())

  private struct State {
    var callers: [Int: Done] = [:]
    var last = 0
    var held: [Module] = []
    /// What it waits for.
    var load: ModuleLoad?
  }

  init(
    _ name: String, _ parameters: [String: String] = [:],
    isOver: @escaping @Sendable (LoadRequest) -> Void = { _ in }
  ) {
    self.name = name
    self.parameters = parameters
    self.isOver = isOver
  }

  /// Answers `done` at the end of the request, or at that of the caller.
  func join(_ end: RequestEnd, _ done: @escaping Done) {
    let number = state.withLock { state in
      state.last += 1
      state.callers[state.last] = done
      return state.last
    }
    end.attach { self.leave(number, $0) }
  }

  private func leave(_ number: Int, _ reason: RequestEnd.Reason) {
    let (done, isLast, held, load) = state.withLock { state in
      let done = state.callers.removeValue(forKey: number)
      let isLast = done != nil && state.callers.isEmpty
      defer { if isLast { state.held = [] } }
      return (done, isLast, isLast ? state.held : [], state.load)
    }
    if isLast { isOver(self) }
    release(held)
    let what = load.map { ", \($0.progress)" } ?? ""
    done?(.failure(ModuleError(name, reason.errno, reason.text + what)))
  }

  /// Keeps a module from unloads until the request is answered. A request without callers keeps
  /// nothing.
  func hold(_ module: Module) {
    let isNew = state.withLock { state in
      if state.callers.isEmpty || state.held.contains(where: { $0 === module }) { return false }
      state.held.append(module)
      return true
    }
    if isNew { module.withLinks { $0.requests[self.name, default: 0] += 1 } }
  }

  private func release(_ modules: [Module]) {
    for module in modules {
      // The takeover has handed this over to the version that has the name.
      let isReplaced = module.withLinks { $0.isReplaced }
      let holder = isReplaced ? module.manager.module(named: module.name) ?? module : module
      holder.withLinks { links in
        let count = links.requests[name, default: 0] - 1
        links.requests[name] = count > 0 ? count : nil
      }
      module.manager.watches.queueLook()
    }
  }

  func waits(for load: ModuleLoad?) { state.withLock { $0.load = load } }

  /// No caller waits for it any more.
  var isDeserted: Bool { state.withLock { $0.callers.isEmpty } }

  func answer(_ result: Result<[ModuleStatus], ModuleError>) {
    isOver(self)
    let (callers, held) = state.withLock { state in
      defer {
        state.callers = [:]
        state.held = []
      }
      return (state.callers, state.held)
    }
    release(held)
    for done in callers.values { done(result) }
  }
}
