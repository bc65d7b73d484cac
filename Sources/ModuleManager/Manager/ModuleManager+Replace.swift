public import Bigref
internal import Glibc
internal import ModuleFiles
internal import Quiescence

/// Another version of a module in the place of the one that is loaded, without a gap.
extension ModuleManager {
  /// Replaces a module by the version in the shared object at `path`.
  ///
  /// ```swift
  /// let manager = ModuleManager()
  /// let replacement = try manager.replace("filter", with: "modules/2/filter.so")
  /// print(replacement.module.version ?? "", replacement.unload)
  /// ```
  ///
  /// The new version is mapped and initialized beside the old one, which serves meanwhile. Hooks
  /// that its `init` registers are not called yet, and objects that it publishes cannot be opened.
  /// When `init` has succeeded, it takes over: at each hook point by one publication, so that every
  /// call finds the hooks of one version and not of the other. A new hook takes the place of an old
  /// one of the same priority. Objects are opened at the new version from then on; what is open
  /// stays with the old one.
  ///
  /// Parameters keep the values that they have now, as far as the new version has parameters of
  /// these names, and `parameters` does not give others. Modules that depend on the module stay,
  /// and depend on the new version. Its policy is that of the old one.
  ///
  /// The old version then leaves as an unload with ``BusyPolicy/wait`` would make it leave, and
  /// nothing leads back. It is listed until it has gone, and is found under its name no longer.
  ///
  /// After an error the old version serves as before, and the new one has left, or leaves when its
  /// code returns.
  ///
  /// - Parameters:
  ///   - name: A loaded module. One on its way in or out is waited for.
  ///   - path: The file of the new version; as
  ///     `load(path:policy:parameters:as:within:cancelledBy:)`.
  ///   - parameters: Values for parameters, in place of the present ones.
  ///   - limit: How long the start of the new version may take: then it ends with `ETIMEDOUT`, and
  ///     the new version leaves when its `init` returns. And how long to wait for users of the old
  ///     one after the takeover. Nil: as long as it takes to start, and no wait for users.
  ///   - cancellation: The same, with `EINTR`; in the other form also the end of the task, with
  ///     `ECANCELED`. After the takeover the answer is a success.
  /// - Complexity: as a load and an unload, and a grace period.
  /// - Threads: as `load(path:policy:parameters:as:within:cancelledBy:)`. Loads, unloads and
  ///   replacements of one manager take turns.
  /// - Throws: as a load; `ENOENT` when no such module is loaded, or it was unloaded meanwhile, or
  ///   replaced by another request; `ENOEXEC` for a file whose module has another name; `EBUSY` for
  ///   a permanent module, which could not leave, and in ``ModuleState/cleanup``; `EINVAL` for a
  ///   new version without an `exit`; `EEXIST` when it publishes what another module publishes;
  ///   `ELOOP` when it depends on itself, also through others; as
  ///   `set(_:of:to:within:cancelledBy:)` when a parameter cannot keep its value, and `EAGAIN` when
  ///   that was changed meanwhile.
  @available(*, noasync, message: "await replace(_:with:) instead of blocking the task's thread")
  @discardableResult
  public func replace(
    _ name: String, with path: String, parameters: [String: String] = [:], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> ModuleReplacement {
    try block(name, within: limit, cancelledBy: cancellation) {
      self.startReplace(name, .file(path), parameters, isPatient: limit != nil, $0, done: $1)
    }
  }

  /// Replaces a module by the version in the shared object at `path`; see the blocking form.
  @discardableResult
  public func replace(
    _ name: String, with path: String, parameters: [String: String] = [:], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> ModuleReplacement {
    try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startReplace(name, .file(path), parameters, isPatient: limit != nil, $0, done: $1)
    }
  }

  /// Replaces a module by one that is compiled in; as
  /// `replace(_:with:parameters:within:cancelledBy:)` with a path.
  @available(*, noasync, message: "await replace(_:with:) instead of blocking the task's thread")
  @discardableResult
  public func replace(
    _ name: String, with builtIn: BuiltInModule, parameters: [String: String] = [:],
    within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> ModuleReplacement {
    try block(name, within: limit, cancelledBy: cancellation) {
      self.startReplace(name, .builtIn(builtIn), parameters, isPatient: limit != nil, $0, done: $1)
    }
  }

  /// Replaces a module by one that is compiled in; see the blocking form.
  @discardableResult
  public func replace(
    _ name: String, with builtIn: BuiltInModule, parameters: [String: String] = [:],
    within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> ModuleReplacement {
    try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startReplace(name, .builtIn(builtIn), parameters, isPatient: limit != nil, $0, done: $1)
    }
  }
}

// MARK: - Until the new version starts

extension ModuleManager {
  /// Where a new version comes from.
  private enum Source: Sendable {
    case file(String)
    case builtIn(BuiltInModule)
  }

  private func startReplace(
    _ name: String, _ source: Source, _ parameters: [String: String], isPatient: Bool, _ end: RequestEnd,
    done: @escaping Completion<ModuleReplacement>
  ) {
    begin(name, end, done: done) {
      let done = self.traced(.replace, name, done)
      let takeover = Takeover(end, isPatient: isPatient, done)
      let load = ModuleLoad(name, parameters, takeover: takeover) { result in
        if case .failure(let error) = result { done(.failure(error)) }
      }
      load.attach(end)
      for version in self.otherVersions(of: name) { self.tryAgain(version) }
      self.replace(name, source, load, takeover)
    }
  }

  /// On the queue, as the last thing that its caller does; and so all that follows.
  private func replace(_ name: String, _ source: Source, _ load: ModuleLoad, _ takeover: Takeover) {
    if load.isOver { return }
    let again: ModuleQueue.Job = { self.replace(name, source, load, takeover) }
    do throws(ModuleError) {
      try checkLoading(name)
      guard let old = module(named: name) else { throw Self.notLoaded(name) }
      load.concerns(old)
      guard let state = old.settledState(orLater: again) else { return }
      if state == .gone { return again() }
      if state != .live { throw old.cleanupError }
      if old.isPermanent { throw old.permanentError }
      takeover.begin(old)
      switch source {
      case .builtIn(let builtIn): try initialize(builtIn, in: old, load)
      case .file(let path):
        prepare(path) { result in
          // Meanwhile another request may have unloaded or replaced it.
          if self.module(named: name) !== old || old.currentState != .live { return again() }
          do throws(ModuleError) { try self.initialize(result.get(), in: old, load) } catch {
            load.answer(.failure(error))
          }
        }
      }
    } catch { load.answer(.failure(error)) }
  }

  private func initialize(_ prepared: PreparedImage, in old: Module, _ load: ModuleLoad) throws(ModuleError) {
    if load.isOver { return }
    try checkLoading(prepared.path)
    try checkName(prepared.name, of: prepared.path, for: old)
    let providers = try holdProviders(prepared.info.depends, of: prepared.info.name, in: old)
    let module = Module(
      UnmappedCode(prepared.file.entry, named: old.name), from: prepared, policy: old.policy, manager: self,
      providers: providers, isAutoloaded: old.isAutoloaded, replacing: old)
    initialize(module, from: prepared, load)
  }

  private func initialize(_ builtIn: BuiltInModule, in old: Module, _ load: ModuleLoad) throws(ModuleError) {
    try checkName(builtIn.name, of: builtIn.name, for: old)
    if let error = builtIn.nameError { throw error }
    let providers = try holdProviders(builtIn.dependsOn, of: builtIn.name, in: old)
    do throws(ModuleError) {
      try builtIn.setFirst(load.takeover?.parameters(for: builtIn, load.parameters) ?? load.parameters)
    } catch {
      releaseProviders(providers, of: builtIn.name)
      throw error
    }
    let module = Module(
      builtIn, policy: old.policy, manager: self, providers: providers, isAutoloaded: old.isAutoloaded,
      replacing: old)
    initialize(module, load)
  }

  private func checkName(_ name: String, of file: String, for old: Module) throws(ModuleError) {
    if ModuleName.key(name) == ModuleName.key(old.ownName) { return }
    throw ModuleError(file, ENOEXEC, "its module is called '\(name)', and cannot replace '\(old.ownName)'")
  }

  private func holdProviders(
    _ names: [String], of user: String, in old: Module
  ) throws(ModuleError) -> [Module] {
    let providers = try holdProviders(names, of: user)
    do throws(ModuleError) { try checkCycle(of: providers, through: old) } catch {
      releaseProviders(providers, of: user)
      throw error
    }
    return providers
  }
}

// MARK: - Versions without a name

extension ModuleManager {
  /// The versions of a module that have lost the name, or have not taken it over yet; oldest first.
  func otherVersions(of name: String) -> [Module] {
    let key = ModuleName.key(name)
    return withState { state in
      let named = state.modules[name]
      return state.loaded.filter { $0 !== named && ModuleName.key($0.name) == key }
    }
  }

  /// Unloads a version that was replaced, and whose `exit` has refused.
  func tryAgain(_ version: Module) {
    queue.run {
      if version.currentState != .cleanup || version.attempt != nil { return }
      self.attempt(UnloadOperation(version, .wait), nil) { _ in }
    }
  }
}

extension Module {
  var cleanupError: ModuleError {
    ModuleError(
      name, EBUSY, "is in cleanup: its exit has refused, and its interfaces are down; unload it again")
  }
}
