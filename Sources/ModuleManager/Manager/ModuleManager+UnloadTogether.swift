public import Bigref
internal import Quiescence

/// What became of one module of several.
public struct ModuleUnload: Sendable {
  /// Its name, as it was asked for.
  public let module: String
  /// As one unload of it would have ended.
  public let result: Result<UnloadOutcome, ModuleError>
}

extension ModuleManager {
  /// Unloads several modules, those first that depend on others, and shares what they wait for.
  ///
  /// Modules on which none of the rest depends go at the same time: one grace period and one
  /// callback barrier serve them all, in so far as their schemes wait for one. Then those go that
  /// they needed. Each ends as `unload(_:ifBusy:within:cancelledBy:)` of it alone would
  /// have: one that cannot go keeps what it needs, and no other.
  ///
  /// - Parameters:
  ///   - names: In any order; one that is named twice is unloaded once.
  ///   - policy: For each of them; nil: each module's own.
  ///   - limit: For all of them; with ``BusyPolicy/wait``.
  ///   - cancellation: Ends the wait of all of them.
  /// - Returns: One for each name, in the order in which they ended.
  /// - Complexity: O(modules²) and, for modules that do not depend on each other, one wait.
  /// - Threads: any, outside sections.
  /// - Throws: `EDEADLK` where it would wait for itself. What is wrong with one module is in its
  ///   result.
  @available(*, noasync, message: "await unload(together:) instead of blocking the task's thread")
  @discardableResult
  public func unload(
    together names: [String], ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> [ModuleUnload] {
    let batch = UnloadBatch(names, policy, of: self)
    return try block(batch.subject, within: limit, cancelledBy: cancellation) { batch.start($0, done: $1) }
  }

  /// Unloads several modules; see the blocking form.
  @discardableResult
  public func unload(
    together names: [String], ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> [ModuleUnload] {
    let batch = UnloadBatch(names, policy, of: self)
    return try await suspend(batch.subject, within: limit, cancelledBy: cancellation) {
      batch.start($0, done: $1)
    }
  }
}

/// Several modules that are unloaded, those first that depend on others.
private final class UnloadBatch: Sendable {
  typealias Completion = ModuleManager.Completion<[ModuleUnload]>

  private struct State {
    /// Those that others of the batch depend on wait here.
    var waiting: [String]
    var onTheirWay: Set<String> = []
    var ended: [ModuleUnload] = []
    var done: Completion?
  }

  private let manager: ModuleManager
  private let policy: BusyPolicy?
  private let ends: [String: RequestEnd]
  private let state: Primitive.Guarded<State>

  init(_ names: [String], _ policy: BusyPolicy?, of manager: ModuleManager) {
    self.manager = manager
    self.policy = policy
    ends = Dictionary(names.map { ($0, RequestEnd(manager.queue)) }) { first, _ in first }
    var waiting: [String] = []
    for name in names where !waiting.contains(name) { waiting.append(name) }
    state = Primitive.Guarded(State(waiting: waiting))
  }

  /// What an error that concerns all of them is about.
  var subject: String { state.withLock { $0.waiting.joined(separator: ", ") } }

  func start(_ end: RequestEnd, done: @escaping Completion) {
    // What ends the request ends that of each module.
    state.withLock { $0.done = done }
    manager.begin(subject, end, done: done) {
      end.attach { reason in
        for each in self.ends.values { each.request(reason.errno, reason.text) }
      }
      self.advance()
    }
  }

  /// Starts all for which none is left that they would have to wait for. On the manager's queue.
  ///
  /// Each as a job, which come before the first wait of one of them: what they wait for, they wait
  /// for together.
  private func advance() {
    for name in takeReady() {
      manager.queue.run {
        self.manager.unload(name, self.policy, self.ends[name]) { self.ended(name, $0) }
      }
    }
    answerIfAllEnded()
  }

  /// Any thread. What waited for it is started.
  private func ended(_ name: String, _ result: Result<UnloadOutcome, ModuleError>) {
    ends[name]?.isAnswered()
    state.withLock { state in
      state.onTheirWay.remove(name)
      state.ended.append(ModuleUnload(module: name, result: result))
    }
    manager.queue.run { self.advance() }
  }

  private func takeReady() -> [String] {
    let present = state.withLock { $0.onTheirWay.union($0.waiting) }
    return state.withLock { state in
      let ready = state.waiting.filter { name in
        guard let module = manager.module(named: name) else { return true }
        return !manager.dependents(of: module).contains { present.contains($0.name) }
      }
      state.waiting.removeAll { ready.contains($0) }
      state.onTheirWay.formUnion(ready)
      return ready
    }
  }

  private func answerIfAllEnded() {
    let (done, ended) = state.withLock { state -> (Completion?, [ModuleUnload]) in
      let isOver = state.waiting.isEmpty && state.onTheirWay.isEmpty
      return (isOver ? state.done.take() : nil, state.ended)
    }
    done?(.success(ended))
  }
}
