public import Bigref
internal import Glibc
internal import ModuleFiles

/// A module keeps those that it depends on: by a reference on each, from before its `init` until it
/// is gone.
extension ModuleManager {
  func holdProviders(of info: ModuleInfo) throws(ModuleError) -> [Module] {
    try holdProviders(info.depends, of: info.name)
  }

  /// Takes a reference on each of these. On the queue.
  ///
  /// - Throws: `ENOENT` when one is not there; then none is held.
  func holdProviders(_ names: [String], of user: String) throws(ModuleError) -> [Module] {
    var held: [Module] = []
    for name in names {
      do throws(ModuleError) {
        held.append(try holdProvider(name, of: user))
      } catch {
        releaseProviders(held, of: user)
        throw error
      }
    }
    return held
  }

  private func holdProvider(_ name: String, of user: String) throws(ModuleError) -> Module {
    guard let module = module(named: name) else {
      throw ModuleError(user, ENOENT, "depends on \(name), which is not loaded")
    }
    guard module.currentState == .live, module.get(for: Self.label(user)) else {
      throw ModuleError(user, EBUSY, "depends on \(name), which is \(module.currentState)")
    }
    return module
  }

  func releaseProviders(_ providers: [Module], of user: @autoclosure () -> String) {
    for module in providers { module.put(for: Self.label(user())) }
  }

  static func label(_ user: String) -> String { "module \(user)" }

  /// `-` and `_` are the same.
  func module(named name: String) -> Module? {
    withState { $0.modules[name] }
  }

  /// The modules that were loaded with it because it wants them, and are loaded now.
  func softProviders(of module: Module) -> [Module] {
    module.withLinks { $0.softProviders }.sorted().compactMap { self.module(named: $0) }
  }

  /// The loaded modules that want `module`, oldest first.
  func softDependents(of module: Module) -> [Module] {
    let key = ModuleName.key(module.name)
    return withState { $0.loaded }.filter { $0.withLinks { $0.softProviders.contains(key) } }
  }

  /// The loaded modules that depend on `module`, oldest first.
  func dependents(of module: Module) -> [Module] {
    withState { state in
      state.loaded.filter { $0.providers.contains { $0 === module } }
    }
  }
}

// MARK: - Those that nothing needs any more

extension ModuleManager {
  /// Unloads a module, and then each that was loaded only because another one depended on it or
  /// wanted it, and that nothing uses, needs or wants now.
  ///
  /// Those that are in use after all stay, which is no error. So does what a request has asked for
  /// by its name or alias, before or since.
  ///
  /// - Parameters:
  ///   - name: The module that was asked for.
  ///   - policy: For `name`. The others are unloaded only if they are not in use.
  ///   - limit: For `name`; as `unload(_:ifBusy:within:cancelledBy:)`.
  ///   - cancellation: Likewise.
  /// - Returns: The outcome of `name`, and the names of the others that went.
  /// - Throws: as `unload(_:ifBusy:within:cancelledBy:)`, for `name`.
  @available(*, noasync, message: "await unloadWithUnused(_:ifBusy:) instead of blocking the task's thread")
  @discardableResult
  public func unloadWithUnused(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> (outcome: UnloadOutcome, others: [String]) {
    let gone = try block(name, within: limit, cancelledBy: cancellation) {
      self.startUnloadWithUnused(name, policy, $0, done: $1)
    }
    return (gone.outcome, gone.others)
  }

  /// Unloads a module and those that nothing needs any more; see the blocking form.
  @discardableResult
  public func unloadWithUnused(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> (outcome: UnloadOutcome, others: [String]) {
    let gone = try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startUnloadWithUnused(name, policy, $0, done: $1)
    }
    return (gone.outcome, gone.others)
  }

  /// What has gone so far.
  private struct Gone: Sendable {
    let outcome: UnloadOutcome
    var others: [String] = []
  }

  private func startUnloadWithUnused(
    _ name: String, _ policy: BusyPolicy?, _ end: RequestEnd, done: @escaping Completion<Gone>
  ) {
    begin(name, end, done: done) {
      if !self.configuration[name].mayBeUnloaded { return done(.failure(Self.forbidden(name, "unload"))) }
      let candidates = self.autoloaded(for: name)
      self.unload(name, policy, end) { result in
        switch result {
        case .success(let outcome):
          self.queue.run { self.unloadUnused(candidates, Gone(outcome: outcome), end, done: done) }
        case .failure(let error): done(.failure(error))
        }
      }
    }
  }

  private func unloadUnused(
    _ candidates: [String], _ gone: Gone, _ end: RequestEnd, done: @escaping Completion<Gone>
  ) {
    guard let next = candidates.last else { return done(.success(gone)) }
    // What was asked for has gone.
    end.attach { _ in done(.success(gone)) }
    let left = Array(candidates.dropLast())
    let more = autoloaded(for: next)
    // A module that stays wants it, or a request has asked for it since. Candidates that want it do
    // not count: they would keep each other.
    guard let module = module(named: next), module.isAutoloaded,
      softDependents(of: module).allSatisfy({ candidates.contains($0.name) })
    else { return unloadUnused(left, gone, end, done: done) }
    unload(next, .fail, nil) { result in
      var (left, gone) = (left, gone)
      if case .success = result {
        gone.others.append(next)
        left += more
      }
      self.queue.run { [left, gone] in self.unloadUnused(left, gone, end, done: done) }
    }
  }

  /// What may go with it: those that it depends on, and behind them those that it wants.
  private func autoloaded(for name: String) -> [String] {
    guard let module = module(named: name) else { return [] }
    let configuration = configuration
    return (module.providers + softProviders(of: module))
      .filter { $0.isAutoloaded && configuration[$0.name].mayBeUnloaded }.map(\.name)
  }
}
