internal import Glibc
internal import ModuleFiles
internal import Quiescence

extension ModuleManager {
  /// Lets ``request(_:)`` and dependencies find modules in `directory`, by its index: see `ModuleIndex`.
  ///
  /// - Parameter isChecked: Without it a directory that is not there yet is taken all the same; requests say what is wrong.
  /// - Parameter limit: How long a request waits for the directory's lock while another process has it exclusively; then
  ///   it fails with `ETIMEDOUT`, naming that process.
  /// - Throws: `ENOENT` and the like for a directory that cannot be read; `EBADMSG` for a damaged index. A missing or
  ///   stale one is no error: the directory is read instead.
  public func setDirectory(
    _ directory: String, isChecked: Bool = true, lockedWithin limit: Duration = .seconds(10)
  ) throws(ModuleError) {
    let directory = ModuleDirectory(path: directory, lockLimit: limit)
    if isChecked { _ = try ModuleError.ofFiles { () throws(ModuleFileError) in try directory.index() } }
    withState { $0.directory = directory }
  }

  /// Sees to it that the module called `name` is loaded, and what it depends on; or all modules that have an alias for
  /// `name`. Returns them, in the order of loading. Those that are loaded already stay as they are.
  ///
  /// Any number of callers at the same time cause one load. A module that is going is waited for and loaded again. After a
  /// failure nothing is remembered: the next request tries again. Loads of one manager take turns.
  ///
  /// - Parameter parameters: For the modules that are called so, not for what they depend on. `EEXIST` when one of them is
  ///   loaded already. Such a request is a flight of its own.
  /// - Threads: as ``load(path:policy:parameters:)``.
  /// - Throws: `ENOENT` when there is no such module and no such alias, or a dependency is missing; `ELOOP` for a cycle of
  ///   dependencies; and whatever loading them throws.
  @available(*, noasync, message: "await request(_:) instead of blocking the task's thread")
  @discardableResult
  public func request(_ name: String, parameters: [String: String] = [:]) throws(ModuleError)
    -> [ModuleStatus]
  {
    if parameters.isEmpty, let live = liveModule(name) { return [live.status] }
    return try block(name) { self.startRequest(name, parameters, done: $0) }
  }

  /// Sees to it that the module called `name` is loaded; see the blocking form.
  @discardableResult
  public func request(
    _ name: String, parameters: [String: String] = [:]
  ) async throws(ModuleError) -> [ModuleStatus] {
    if parameters.isEmpty, let live = liveModule(name) { return [live.status] }
    return try await suspend(name) { self.startRequest(name, parameters, done: $0) }
  }

  func liveModule(_ name: String) -> Module? {
    let module = withState { $0.modules[name] }
    return module?.currentState == .live ? module : nil
  }

  private func startRequest(
    _ name: String, _ parameters: [String: String], done: @escaping Completion<[ModuleStatus]>
  ) {
    let done = traced(.request, name, done)
    if !parameters.isEmpty {
      return run(name, done: done) { self.serve(name, parameters, done) }
    }
    let isFirst = withState { state in
      state.requests[name, default: []].append(done)
      return state.requests[name]?.count == 1
    }
    if !isFirst { return }
    run(name, done: { self.answerRequests(name, $0) }) {
      self.serve(name, [:]) { self.answerRequests(name, $0) }
    }
  }

  private func answerRequests(_ name: String, _ result: Result<[ModuleStatus], ModuleError>) {
    // Taken off before they are answered: whoever asks again now, asks anew.
    let waiting = withState { $0.requests.removeValue(forKey: name) ?? [] }
    for done in waiting { done(result) }
  }

  /// On the manager's thread.
  private func serve(
    _ name: String, _ parameters: [String: String], _ done: @escaping Completion<[ModuleStatus]>
  ) {
    serve(name, parameters, done) { index throws(ModuleFileError) in try index.found(name) }
  }

  /// Loads what `choose` finds, with all that it needs. On the manager's thread.
  func serve(
    _ name: String, _ parameters: [String: String], _ done: @escaping Completion<[ModuleStatus]>,
    _ choose: @escaping @Sendable (ModuleIndex) throws(ModuleFileError) -> [ModuleIndex.Entry]
  ) {
    let start: @Sendable (_ done: @escaping Completion<[ModuleStatus]>) -> Void = { done in
      do throws(ModuleError) {
        guard let index = try self.findable() else { throw self.noDirectory(name) }
        let wanted = try ModuleError.ofFiles { () throws(ModuleFileError) in
          let wanted = try choose(index)
          // All of them, before the first is loaded.
          for entry in wanted { _ = try index.order(for: entry.name) }
          return wanted
        }
        if !parameters.isEmpty, let live = wanted.first(where: { self.liveModule($0.name) != nil }) {
          throw ModuleError(live.name, EEXIST, "is loaded already; its parameters can be set one by one")
        }
        let flight = LoadRequest(index: index, wanted: Set(wanted.map(\.name)), parameters: parameters)
        self.load(wanted[...], in: flight, loaded: [], done)
      } catch {
        done(.failure(error))
      }
    }
    guard let directory = withState({ $0.directory }) else { return start(done) }
    withSharedLock(of: directory, failed: { done(.failure($0)) }) { lock in
      // Until everything is loaded.
      start { result in withExtendedLifetime(lock) { done(result) } }
    }
  }

  /// One request, and what it is about.
  private struct LoadRequest: Sendable {
    let index: ModuleIndex
    /// Those that were asked for; others are loaded for their sake.
    let wanted: Set<String>
    let parameters: [String: String]
  }

  private func load(
    _ wanted: ArraySlice<ModuleIndex.Entry>, in flight: LoadRequest, loaded: [ModuleStatus],
    _ done: @escaping Completion<[ModuleStatus]>
  ) {
    guard let entry = wanted.first else { return done(.success(loaded)) }
    load(entry, in: flight) { result in
      switch result {
      case .failure(let error): done(.failure(error))
      case .success(let status):
        self.load(wanted.dropFirst(), in: flight, loaded: loaded + [status], done)
      }
    }
  }

  /// Loads the module and what is wanted with it, unless it is there. On the manager's thread, and so is `done`.
  private func load(
    _ entry: ModuleIndex.Entry, in flight: LoadRequest, _ done: @escaping Completion<ModuleStatus>
  ) {
    do throws(ModuleError) {
      let order = try ModuleError.ofFiles { () throws(ModuleFileError) in
        try flight.index.order(for: entry.name)
      }
      let required = Set(flight.index.required(for: entry.name))
      try checkRules(order, required: required)
      loadInOrder(order[...], in: flight, required: required, asked: entry.name) { result in
        switch result {
        case .failure(let error): done(.failure(error))
        case .success:
          guard let module = self.withState({ $0.modules[entry.name] }) else {
            return done(.failure(ModuleError(entry.name, ENOENT, "was unloaded at once by somebody else")))
          }
          done(.success(module.status))
        }
      }
    } catch {
      done(.failure(error))
    }
  }

  private func loadInOrder(
    _ order: ArraySlice<ModuleIndex.Entry>, in flight: LoadRequest, required: Set<String>, asked: String,
    _ done: @escaping Completion<Void>
  ) {
    guard let entry = order.first else { return done(.success(())) }
    let next: @Sendable () -> Void = {
      self.loadInOrder(order.dropFirst(), in: flight, required: required, asked: asked, done)
    }
    if let module = withState({ $0.modules[entry.name] }), module.currentState == .live { return next() }
    let rules = configuration[entry.name]
    if !rules.mayBeLoaded { return next() }
    let loaded: Completion<ModuleStatus> = { result in
      let job: ModuleThread.Job = {
        switch result {
        case .success: next()
        // Somebody else was quicker.
        case .failure(let error) where error.errno == EEXIST: next()
        // Only wanted.
        case .failure where !required.contains(entry.name): next()
        case .failure(let error):
          if entry.name == asked { return done(.failure(error)) }
          done(
            .failure(
              ModuleError(
                asked, error.errno, "needs \(error.module): \(error.reason)", holders: error.holders)))
        }
      }
      if self.thread.isCurrent { job() } else { _ = self.thread.run(job) }
    }
    loadOne(entry, in: flight, rules, asked: asked, traced(.load, entry.name, loaded))
  }

  private func loadOne(
    _ entry: ModuleIndex.Entry, in flight: LoadRequest, _ rules: ModuleConfiguration.Rules, asked: String,
    _ done: @escaping Completion<ModuleStatus>
  ) {
    let isWanted = flight.wanted.contains(entry.name)
    let options = rules.options.merging(isWanted ? flight.parameters : [:]) { _, asked in asked }
    let user = isWanted ? nil : asked
    if !entry.isBuiltIn {
      return load(
        flight.index.path(of: entry), ModulePolicy(), options, isFor: user, named: entry.name, done: done)
    }
    guard let builtIn = withState({ $0.builtIns[ModuleName.key(entry.name)] }) else {
      return done(.failure(ModuleError(entry.name, ENOENT, "is not compiled in any more")))
    }
    load(builtIn, ModulePolicy(), options, isFor: user, done: done)
  }
}
