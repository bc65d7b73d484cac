internal import Glibc
internal import ModuleFiles

/// A module that a request is about to load, or finds loaded.
public struct PlannedLoad: Hashable, Sendable {
  /// Its name.
  public let module: String
  /// Its file; empty for a module that is compiled in.
  public let path: String
  /// It is loaded already.
  public let isLoaded: Bool
  /// It was not asked for: one that was depends on it, or wants it.
  public let isDependency: Bool
}

/// What requests and unloads would do, without doing it.
extension ModuleManager {
  /// What `request(_:)` would load for `name`, in order, and what of it is loaded already.
  ///
  /// - Threads: any. Blocks for the file system only.
  /// - Throws: as `request(_:)` before it loads anything.
  public func plan(for name: String) throws(ModuleError) -> [PlannedLoad] {
    let index: ModuleIndex
    let wanted: [ModuleIndex.Entry]
    do throws(ModuleError) {
      guard let findable = try findable() else { throw noDirectory(name) }
      index = findable
      wanted = try ModuleError.ofFiles { () throws(ModuleFileError) in try findable.found(name) }
    } catch {
      // Loaded by its path, from wherever.
      if let loaded = module(named: name) { return [Self.planned(loaded)] }
      throw error
    }
    var plan: [PlannedLoad] = []
    for entry in wanted {
      let order = try ModuleError.ofFiles { () throws(ModuleFileError) in try index.order(for: entry.name) }
      try checkRules(order, required: Set(index.required(for: entry.name)))
      for step in order
      where configuration[step.name].mayBeLoaded && !plan.contains(where: { $0.module == step.name }) {
        plan.append(
          PlannedLoad(
            module: step.name, path: index.path(of: step), isLoaded: module(named: step.name) != nil,
            isDependency: !wanted.contains(step)))
      }
    }
    return plan
  }

  private static func planned(_ module: Module) -> PlannedLoad {
    PlannedLoad(module: module.name, path: module.path ?? "", isLoaded: true, isDependency: false)
  }

  func noDirectory(_ name: String) -> ModuleError {
    ModuleError(name, ENOENT, "is not loaded, and there is no module directory to find it in")
  }

  /// What `unloadWithUnused(_:ifBusy:within:cancelledBy:)` would unload, in order, as far as can
  /// be seen now.
  ///
  /// - Throws: `ENOENT` when it is not loaded, `EWOULDBLOCK` when others need it.
  public func removalPlan(of name: String) throws(ModuleError) -> [String] {
    guard let first = module(named: name) else {
      throw ModuleError(name, ENOENT, "no such module is loaded")
    }
    if let error = neededError(first) { throw error }
    if !configuration[name].mayBeUnloaded { throw Self.forbidden(name, "unload") }
    var gone = [first]
    var candidates = first.providers + softProviders(of: first)
    while let next = candidates.popLast() {
      if !next.isAutoloaded || !configuration[next.name].mayBeUnloaded
        || gone.contains(where: { $0 === next })
      {
        continue
      }
      let wanting = softDependents(of: next).filter { user in
        user !== next && !candidates.contains { $0 === user }
      }
      let isNeeded = (dependents(of: next) + wanting).contains { user in !gone.contains { $0 === user } }
      // One reference for each that goes; more of them are other users'.
      let references = gone.reduce(0) { $0 + $1.providers.count { $0 === next } }
      if isNeeded || next.holders.reduce(0, { $0 + $1.count }) > references { continue }
      gone.append(next)
      candidates += next.providers + softProviders(of: next)
    }
    return gone.map(\.name)
  }

  /// Why it cannot go for the sake of others; nil when no module depends on it, and no request has
  /// loaded it that is not answered yet.
  func neededError(_ module: Module) -> ModuleError? {
    let requests = module.withLinks { $0.requests.keys.sorted() }
    let dependents = dependents(of: module).map(\.name) + requests.map { "request \($0)" }
    if dependents.isEmpty { return nil }
    return ModuleError(
      module.name, EWOULDBLOCK, named: "EWOULDBLOCK", "needed by \(dependents.joined(separator: ", "))",
      holders: module.holders)
  }
}
