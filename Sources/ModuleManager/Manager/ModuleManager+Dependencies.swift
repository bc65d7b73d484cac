internal import Glibc
internal import ModuleFiles

/// A module keeps those that it depends on: by a reference on each, from before its `init` until it is gone.
extension ModuleManager {
  func holdProviders(of info: ModuleInfo) throws(ModuleError) -> [Module] {
    try holdProviders(info.depends, of: info.name)
  }

  /// Takes a reference on each of these. On the manager's thread.
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

  func releaseProviders(_ providers: [Module], of user: String) {
    for module in providers { module.put(for: Self.label(user)) }
  }

  private static func label(_ user: String) -> String { "module \(user)" }

  /// `-` and `_` are the same.
  func module(named name: String) -> Module? {
    withState { $0.modules[name] }
  }

  /// The loaded modules that depend on `module`, oldest first.
  func dependents(of module: Module) -> [Module] {
    withState { state in
      state.order.compactMap { state.modules[$0] }.filter { $0.providers.contains { $0 === module } }
    }
  }
}

// MARK: - Those that nobody needs any more

extension ModuleManager {
  /// Unloads a module, and then each that was loaded only because another one depended on it, and that nobody uses now.
  ///
  /// Those that are in use after all stay, which is no error.
  ///
  /// - Returns: The outcome of `name`, and the names of the others that went.
  /// - Throws: as ``unload(_:ifBusy:cancelledBy:)-9hs1``, for `name`.
  @available(*, noasync, message: "await unloadWithUnused(_:ifBusy:) instead of blocking the task's thread")
  @discardableResult
  public func unloadWithUnused(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil
  ) throws(ModuleError) -> (outcome: UnloadOutcome, others: [String]) {
    if !configuration[name].mayBeUnloaded { throw Self.forbidden(name, "unload") }
    var candidates = autoloadedProviders(of: name)
    let outcome = try unload(name, ifBusy: policy, within: limit)
    var others: [String] = []
    while let next = candidates.popLast() {
      let more = autoloadedProviders(of: next)
      do throws(ModuleError) {
        try unload(next, ifBusy: .fail)
        others.append(next)
        candidates += more
      } catch { continue }
    }
    return (outcome, others)
  }

  /// Unloads a module and those that nobody needs any more; see the blocking form.
  @discardableResult
  public func unloadWithUnused(
    _ name: String, ifBusy policy: BusyPolicy? = nil, within limit: Duration? = nil
  ) async throws(ModuleError) -> (outcome: UnloadOutcome, others: [String]) {
    if !configuration[name].mayBeUnloaded { throw Self.forbidden(name, "unload") }
    var candidates = autoloadedProviders(of: name)
    let outcome = try await unload(name, ifBusy: policy, within: limit)
    var others: [String] = []
    while let next = candidates.popLast() {
      let more = autoloadedProviders(of: next)
      do throws(ModuleError) {
        try await unload(next, ifBusy: .fail)
        others.append(next)
        candidates += more
      } catch { continue }
    }
    return (outcome, others)
  }

  private func autoloadedProviders(of name: String) -> [String] {
    guard let module = module(named: name) else { return [] }
    let configuration = configuration
    return module.providers.filter { $0.isAutoloaded && configuration[$0.name].mayBeUnloaded }.map(\.name)
  }
}
