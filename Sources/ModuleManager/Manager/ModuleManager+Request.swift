public import Bigref
internal import Glibc
internal import ModuleFiles
internal import Quiescence

extension ModuleManager {
  /// Lets `request(_:parameters:within:cancelledBy:)` and dependencies find modules
  /// in `directory`, by its index: see `ModuleIndex`.
  ///
  /// - Parameters:
  ///   - directory: Its path.
  ///   - isChecked: Without it a directory that does not exist yet is accepted, and requests say
  ///     what is wrong.
  ///   - limit: How long a request waits for the directory's lock while another process has it
  ///     exclusively; then it fails with `ETIMEDOUT`, naming that process.
  /// - Throws: `ENOENT` and the like for a directory that cannot be read; `EBADMSG` for a damaged
  ///   index. A missing or stale one is no error: the directory is read instead.
  public func setDirectory(
    _ directory: String, isChecked: Bool = true, lockedWithin limit: Duration = .seconds(10)
  ) throws(ModuleError) {
    let directory = ModuleDirectory(path: directory, lockLimit: limit)
    if isChecked { _ = try ModuleError.ofFiles { () throws(ModuleFileError) in try directory.index() } }
    withState { $0.directory = directory }
  }

  /// Loads the module called `name`, and what it depends on; or all modules that have an alias for
  /// `name`. Returns them, in the order of loading. Those that are loaded already stay as they are.
  ///
  /// Any number of callers at the same time cause one load. A module that is coming or going is
  /// waited for, and loaded again. After a failure nothing is remembered: the next request tries
  /// again. Loads of one manager take turns. Until it is answered, the request holds what it has
  /// loaded, and what it has found loaded: an unload of that is told `EWOULDBLOCK`, and the name of
  /// the request.
  ///
  /// - Parameters:
  ///   - name: A module's name, or an alias.
  ///   - parameters: For the modules that are called so, not for what they depend on. `EEXIST` when
  ///     one of them is loaded already. Such a request is not shared.
  ///   - limit: Then it ends with `ETIMEDOUT`, whatever the modules do; others that share it go on.
  ///     What is loaded by then stays.
  ///   - cancellation: The same, with `EINTR`; in the other form also the end of the task, with
  ///     `ECANCELED`.
  /// - Threads: as `load(path:policy:parameters:as:within:cancelledBy:)`.
  /// - Throws: `ENOENT` when there is no such module and no such alias, or a dependency is missing;
  ///   `ELOOP` for a cycle of dependencies; `EBUSY` for a module in ``ModuleState/cleanup``;
  ///   `ENOEXEC` for a file whose module has another name; and whatever loading them throws.
  @available(*, noasync, message: "await request(_:) instead of blocking the task's thread")
  @discardableResult
  public func request(
    _ name: String, parameters: [String: String] = [:], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> [ModuleStatus] {
    if parameters.isEmpty, let live = liveModule(name) { return [markAsRequested(live).status] }
    return try block(name, within: limit, cancelledBy: cancellation) {
      self.startRequest(name, parameters, $0, done: $1)
    }
  }

  /// Loads the module called `name`, and what it depends on; see the blocking form.
  @discardableResult
  public func request(
    _ name: String, parameters: [String: String] = [:], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> [ModuleStatus] {
    if parameters.isEmpty, let live = liveModule(name) { return [markAsRequested(live).status] }
    return try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startRequest(name, parameters, $0, done: $1)
    }
  }

  /// From now on it does not go with the modules that it was loaded for.
  private func markAsRequested(_ module: Module) -> Module {
    module.withLinks { $0.isAutoloaded = false }
    return module
  }

  func liveModule(_ name: String) -> Module? {
    let module = module(named: name)
    return module?.currentState == .live ? module : nil
  }

  private func startRequest(
    _ name: String, _ parameters: [String: String], _ end: RequestEnd,
    done: @escaping Completion<[ModuleStatus]>
  ) {
    let done = traced(.request, name, done)
    begin(name, end, done: done) {
      if !parameters.isEmpty {
        let request = LoadRequest(name, parameters)
        request.join(end, done)
        return self.serve(request) { index throws(ModuleFileError) in try index.found(name) }
      }
      if let request = self.withState({ $0.requests[name] }) { return request.join(end, done) }
      let request = LoadRequest(name) { request in
        self.withState { if $0.requests[name] === request { $0.requests[name] = nil } }
      }
      self.withState { $0.requests[name] = request }
      request.join(end, done)
      self.serve(request) { index throws(ModuleFileError) in try index.found(name) }
    }
  }
}

// MARK: - Serving a request

extension ModuleManager {
  /// Loads what `choose` finds, with all that it needs. On the queue, as the last thing that its
  /// caller does; and so all that follows.
  func serve(
    _ request: LoadRequest,
    _ choose: @escaping @Sendable (ModuleIndex) throws(ModuleFileError) -> [ModuleIndex.Entry]
  ) {
    typealias Start =
      @Sendable (
        _ adopt: @escaping @Sendable () -> Void, _ done: @escaping Completion<[ModuleStatus]>
      ) -> Void
    let start: Start = { adopt, done in
      do throws(ModuleError) {
        guard let index = try self.findable() else { throw self.noDirectory(request.name) }
        let wanted = try ModuleError.ofFiles { () throws(ModuleFileError) in
          let wanted = try choose(index)
          // All of them, before the first is loaded.
          for entry in wanted { _ = try index.order(for: entry.name) }
          return wanted
        }
        if !request.parameters.isEmpty, let live = wanted.first(where: { self.liveModule($0.name) != nil }) {
          throw ModuleError(live.name, EEXIST, "is loaded already; its parameters can be set one by one")
        }
        let plan = Plan(request: request, index: index, wanted: Set(wanted.map(\.name)), adopt: adopt)
        self.load(wanted[...], by: plan, loaded: [], done)
      } catch {
        done(.failure(error))
      }
    }
    guard let directory = withState({ $0.directory }) else { return start({}) { request.answer($0) } }
    withSharedLock(of: directory, failed: { request.answer(.failure($0)) }) { lock in
      // Until everything is loaded.
      start({ lock.value.adopt() }) { result in withExtendedLifetime(lock) { request.answer(result) } }
    }
  }

  /// A request, and what it found.
  private struct Plan: Sendable {
    let request: LoadRequest
    let index: ModuleIndex
    /// Those that were asked for; others are loaded for their sake.
    let wanted: Set<String>
    /// The calling thread has the directory's lock from here on: it runs modules' `init` under it.
    let adopt: @Sendable () -> Void
  }

  private func load(
    _ wanted: ArraySlice<ModuleIndex.Entry>, by plan: Plan, loaded: [ModuleStatus],
    _ done: @escaping Completion<[ModuleStatus]>
  ) {
    guard let entry = wanted.first else { return done(.success(loaded)) }
    load(entry, by: plan) { result in
      switch result {
      case .failure(let error): done(.failure(error))
      case .success(let status):
        self.load(wanted.dropFirst(), by: plan, loaded: loaded + [status], done)
      }
    }
  }

  /// Loads the module and what is wanted with it, unless it is there.
  private func load(_ entry: ModuleIndex.Entry, by plan: Plan, _ done: @escaping Completion<ModuleStatus>) {
    do throws(ModuleError) {
      let order = try ModuleError.ofFiles { () throws(ModuleFileError) in
        try plan.index.order(for: entry.name)
      }
      let required = Set(plan.index.required(for: entry.name))
      try checkRules(order, required: required)
      loadInOrder(order[...], by: plan, required: required, asked: entry.name) { result in
        switch result {
        case .failure(let error): done(.failure(error))
        case .success:
          self.recordSoftProviders(of: order, in: plan.index)
          guard let module = self.liveModule(entry.name) else {
            let what =
              self.module(named: entry.name).map { "is \($0.currentState)" } ?? "has been unloaded meanwhile"
            return done(.failure(ModuleError(entry.name, EBUSY, what)))
          }
          done(.success(module.status))
        }
      }
    } catch {
      done(.failure(error))
    }
  }

  private func loadInOrder(
    _ order: ArraySlice<ModuleIndex.Entry>, by plan: Plan, required: Set<String>, asked: String,
    _ done: @escaping Completion<Void>
  ) {
    guard let entry = order.first else { return done(.success(())) }
    // Its callers have their answers: nothing more is begun for them.
    if plan.request.isDeserted {
      return done(.failure(ModuleError(asked, ECANCELED, "no caller waits for it")))
    }
    let next: @Sendable () -> Void = {
      self.loadInOrder(order.dropFirst(), by: plan, required: required, asked: asked, done)
    }
    if let module = liveModule(entry.name), module.attempt == nil {
      plan.request.hold(plan.wanted.contains(entry.name) ? markAsRequested(module) : module)
      return next()
    }
    let rules = configuration[entry.name]
    if !rules.mayBeLoaded { return next() }
    let loaded: Completion<ModuleStatus> = { result in
      // By the thread that has the turn, whatever that is by now.
      self.queue.run {
        plan.request.waits(for: nil)
        // Loaded or found, and held since then.
        guard case .failure(let error) = result else { return next() }
        // Only wanted.
        if !required.contains(entry.name) { return next() }
        if entry.name == asked {
          let isCleanup = self.module(named: entry.name)?.currentState == .cleanup
          return done(
            .failure(
              isCleanup ? ModuleError(error.module, EBUSY, error.reason, holders: error.holders) : error))
        }
        done(
          .failure(
            ModuleError(asked, error.errno, "needs \(error.module): \(error.reason)", holders: error.holders))
        )
      }
    }
    loadOne(entry, by: plan, rules, asked: asked, traced(.load, entry.name, loaded))
  }

  /// Of each module, those that it wants and that are there. Called when all of a request's have
  /// been loaded, since some are loaded behind the module.
  private func recordSoftProviders(of order: [ModuleIndex.Entry], in index: ModuleIndex) {
    for entry in order {
      let wanted = (entry.softBefore + entry.softAfter).flatMap(index.matches).map(\.name)
      let softProviders = Set(wanted.filter { liveModule($0) != nil }.map(ModuleName.key))
      liveModule(entry.name)?.withLinks { $0.softProviders.formUnion(softProviders) }
    }
  }

  private func loadOne(
    _ entry: ModuleIndex.Entry, by plan: Plan, _ rules: ModuleConfiguration.Rules, asked: String,
    _ done: @escaping Completion<ModuleStatus>
  ) {
    let isWanted = plan.wanted.contains(entry.name)
    let options = rules.options.merging(isWanted ? plan.request.parameters : [:]) { _, asked in asked }
    let load = ModuleLoad(
      entry.name, options, named: entry.name, for: isWanted ? nil : asked, in: plan.request, done: done)
    plan.request.waits(for: load)
    plan.adopt()
    if !entry.isBuiltIn { return self.load(plan.index.path(of: entry), load) }
    guard let builtIn = withState({ $0.builtIns[ModuleName.key(entry.name)] }) else {
      return load.answer(.failure(ModuleError(entry.name, ENOENT, "is not compiled in any more")))
    }
    self.load(builtIn, load)
  }
}
