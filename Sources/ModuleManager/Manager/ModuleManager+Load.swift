internal import CModuleABI
internal import Glibc
internal import ModuleFiles
internal import Quiescence

/// One load of one module, from the request to its answer. On the manager's queue.
final class ModuleLoad: Sendable {
  typealias Done = ModuleManager.Completion<ModuleStatus>

  let policy: ModulePolicy
  let parameters: [String: String]
  /// What its module must call itself; nil: anything.
  let name: String?
  /// The module that depends on it, when it is loaded for that alone.
  let user: String?
  /// The request that it is a part of, which holds what it loads or finds.
  let request: LoadRequest?
  /// What comes after its `init`, when its module takes over from another version.
  let takeover: Takeover?
  let done: Done
  private let answered = Once()
  /// What it is about, and waits for.
  private let subject: Locked<(text: String, module: Module?)>

  init(
    _ subject: String, policy: ModulePolicy = ModulePolicy(), _ parameters: [String: String],
    named name: String? = nil, for user: String? = nil, in request: LoadRequest? = nil,
    takeover: Takeover? = nil, done: @escaping Done
  ) {
    self.policy = policy
    self.parameters = parameters
    self.name = name
    self.user = user
    self.request = request
    self.takeover = takeover
    self.done = done
    self.subject = Locked((subject, nil))
  }

  /// The first answer counts.
  func answer(_ result: Result<ModuleStatus, ModuleError>) { if answered.take() { done(result) } }

  /// From here on something else answers the request. False when it was answered before.
  func handOver() -> Bool { answered.take() }

  /// The request's end answers it. What has begun goes on: an `init` cannot be interrupted.
  func attach(_ end: RequestEnd) {
    end.attach { self.answer(.failure(self.error($0))) }
  }

  /// Whether the request was answered, so that nothing more is begun for it.
  var isOver: Bool { answered.isOver }

  /// Whether a module that is loaded already will do: for a request, unless it has parameters for
  /// the module.
  var takesLoaded: Bool { request.map { user != nil || $0.parameters.isEmpty } ?? false }

  func concerns(_ module: Module) { subject.withLock { $0.module = module } }

  /// What it waits for.
  var progress: String {
    let (text, module) = subject.withLock { $0 }
    guard let module else { return "\(text) is not mapped yet" }
    let users = holders.isEmpty ? "" : ", in use: \(holders.joined)"
    return "\(module.name) is \(module.currentState)\(module.remark)\(users)"
  }

  /// What keeps a module that is going, and that it waits for.
  private var holders: [ModuleHolder] {
    let module = subject.withLock { $0.module }
    return module?.currentState == .going ? module?.holders ?? [] : []
  }

  private func error(_ reason: RequestEnd.Reason) -> ModuleError {
    let (text, module) = subject.withLock { $0 }
    return ModuleError(
      module?.name ?? text, reason.errno, "\(reason.text), \(progress)", holders: holders)
  }
}

extension ModuleManager {
  func startLoad(
    _ path: String, _ policy: ModulePolicy, _ parameters: [String: String], as name: String?,
    _ end: RequestEnd, done: @escaping Completion<ModuleStatus>
  ) {
    begin(path, end, done: done) {
      let load = ModuleLoad(
        path, policy: policy, parameters, named: name,
        done: self.traced(.load, ModuleName.ofFile(path), done))
      load.attach(end)
      self.load(path, load)
    }
  }

  /// On the queue, as the last thing that its caller does.
  func load(_ path: String, _ load: ModuleLoad) {
    if load.isOver { return }
    do throws(ModuleError) {
      try checkLoading(path)
      if let name = load.policy.instance, !ModuleName.isValid(name) {
        throw ModuleError(path, EINVAL, "'\(name)' is no name for an instance")
      }
    } catch { return load.answer(.failure(error)) }
    prepare(path) { result in
      switch result {
      case .success(let prepared): self.load(prepared, path, load)
      case .failure(let error): load.answer(.failure(error))
      }
    }
  }

  /// Reads, verifies and inspects the file, in a watched call. As the last thing that its caller
  /// does.
  func prepare(
    _ path: String, then next: @escaping @Sendable (Result<PreparedImage, ModuleError>) -> Void
  ) {
    let verifiers = withState { $0.verifiers }
    queue.call(
      { [copies] in
        Result { () throws(ModuleError) in try PreparedImage(path, in: copies, verifiedBy: verifiers) }
      }, then: next)
  }

  /// Its file was copied and inspected; none of its code has run.
  private func load(_ prepared: PreparedImage, _ path: String, _ load: ModuleLoad) {
    if load.isOver { return }
    if !isVerified(prepared) { return self.load(path, load) }
    do throws(ModuleError) {
      try checkLoading(path)
      try checkName(prepared.name, load, path)
      let name = load.policy.instance ?? prepared.name
      if let loaded = module(named: name) {
        let isSame = loaded.file == prepared.identity
        return found(
          loaded, by: load, isSame ? "is loaded already" : "a module of this name is loaded already"
        ) { self.load(path, load) }
      }
      let module = Module(
        UnmappedCode(prepared.file.entry, named: name), from: prepared, policy: load.policy, manager: self,
        providers: try holdProviders(of: prepared.info), isAutoloaded: load.user != nil)
      initialize(module, from: prepared, load)
    } catch {
      load.answer(.failure(error))
    }
  }

  /// Whether all verifiers have seen it: one may have come meanwhile. None goes, so their number
  /// says it all.
  private func isVerified(_ prepared: PreparedImage) -> Bool {
    withState { $0.verifiers.count } == prepared.verifiers
  }

  /// Throws `ENOEXEC` when a module that is loaded under a name has another one. Nil: not known
  /// before it is mapped.
  private func checkName(_ name: String?, _ load: ModuleLoad, _ path: String) throws(ModuleError) {
    guard let name, let expected = load.name, ModuleName.key(name) != ModuleName.key(expected) else {
      return
    }
    throw ModuleError(path, ENOEXEC, "its module is called '\(name)', and was found as '\(expected)'")
  }

  /// A module of the name, or of the file, is there. One that is coming or going is waited for, and
  /// then `again` runs. One that is live is what a request looks for, and an error for a caller
  /// that has asked for the load itself.
  func found(
    _ module: Module, by load: ModuleLoad, _ reason: String, again: @escaping ModuleQueue.Job
  ) {
    load.concerns(module)
    switch module.settledState(orLater: again) {
    case nil: return
    case .live where load.takesLoaded:
      load.request?.hold(module)
      load.answer(.success(module.status))
    case .cleanup:
      let reason = "is in cleanup: its exit has refused, and its interfaces are down; unload it again"
      load.answer(.failure(ModuleError(module.name, EEXIST, reason)))
    // It has gone since it was found.
    case .gone: again()
    default: load.answer(.failure(ModuleError(module.name, EEXIST, reason)))
    }
  }

  /// As the last thing that its caller does.
  ///
  /// - Parameter prepared: What is mapped when the observers agree; nil for a module that is built
  ///   into the host.
  func initialize(_ module: Module, from prepared: PreparedImage? = nil, _ load: ModuleLoad) {
    load.concerns(module)
    withState { state in
      if load.takeover == nil { state.modules[module.name] = module }
      state.loaded.append(module)
    }
    askObservers(module) { result in
      switch result {
      case .success(let observers):
        module.withLinks { $0.observers = observers }
        // Again: an observer may take its time.
        do throws(ModuleError) { try self.checkLoading(module.path ?? module.name) } catch {
          return self.forget(module) { load.answer(.failure(error)) }
        }
        guard let prepared else { return self.callInit(of: module, load) }
        if !self.isVerified(prepared) { return self.forget(module) { self.load(prepared.path, load) } }
        self.map(prepared, for: module, load)
      case .failure(let error):
        // Nothing of it has run.
        self.remove(module)
        load.answer(.failure(error))
      }
    }
  }

  /// Maps its image, by which constructors run, and then calls its `init`.
  private func map(_ prepared: PreparedImage, for module: Module, _ load: ModuleLoad) {
    if load.isOver { return forget(module) {} }
    let span = tracer.begin(.map, module.name)
    module.call(.map) { () -> Result<MappedModule, ModuleError> in
      Result { () throws(ModuleError) in
        let (image, entry) = try Image.open(prepared)
        return MappedModule(image: image, entry: entry)
      }
    } then: { result in
      switch result {
      case .success(let mapped):
        self.tracer.end(span)
        self.setUp(mapped, module, load)
      case .failure(let error):
        self.tracer.end(span, errno: error.errno, label: error.reason)
        self.forget(module) { load.answer(.failure(error)) }
      }
    }
  }

  private struct MappedModule: Sendable {
    let image: Image
    nonisolated(unsafe) let entry: UnsafePointer<quiescent_module>
  }

  /// Its image is mapped, and its constructors have run.
  private func setUp(_ mapped: MappedModule, _ module: Module, _ load: ModuleLoad) {
    do throws(ModuleError) {
      let code = try ImageCode(mapped.entry, named: module.name, path: mapped.image.path)
      module.setMapped(mapped.image, code)
      if load.isOver { return unmap(module) {} }
      try code.setFirst(load.takeover?.parameters(for: code, load.parameters) ?? load.parameters)
      try load.takeover?.checkExit(of: code)
      try module.setState(of: code, from: load.takeover?.old)
      callInit(of: module, load)
    } catch {
      module.setMapped(mapped.image, module.code)
      unmap(module) { load.answer(.failure(error)) }
    }
  }

  /// Undoes the mapping of a module whose `init` was not called; destructors run.
  private func unmap(_ module: Module, then next: @escaping ModuleQueue.Job) {
    module.call(.unmap) {
      _ = module.image?.close()
    } then: {
      self.forget(module, then: next)
    }
  }

  private func callInit(of module: Module, _ load: ModuleLoad) {
    setState(.coming, of: module)
    let span = tracer.begin(.initialize, module.name)
    module.call(.initialize) {
      module.code.callInit(module)
    } then: { result in
      self.tracer.end(span, errno: result < 0 ? -result : result == 0 ? 0 : EINVAL)
      if result == 0 {
        // Before it is live: no unload comes between the load and the request's next step.
        if let takeover = load.takeover { return self.takeOver(module, takeover, load) }
        load.request?.hold(module)
        self.setState(.live, of: module)
        return load.answer(.success(module.status))
      }
      // What it registered before it failed may be in use by now: leave as every module of the
      // scheme leaves. The load is answered after the last look at its users.
      let error = self.error(ofInit: result, of: module)
      self.leave(module, .failedInit(error)) { load.answer(.failure(error)) }
    }
  }

  /// Unloads a module that does not come into service. As the last thing that its caller does.
  ///
  /// - Parameter tellLoader: Called when it has gone, has users, or does not come further.
  func leave(_ module: Module, _ cause: UnloadOperation.Cause, tellLoader: @escaping ModuleQueue.Job) {
    let operation = UnloadOperation(module, cause, tellLoader: tellLoader)
    module.withLinks { $0.attempt = operation }
    module.scheme.unload(operation)
  }

  /// With what the host has refused to it, if it returned that.
  private func error(ofInit result: Int32, of module: Module) -> ModuleError {
    if result > 0 {
      return ModuleError(module.name, EINVAL, "its init returned \(result), neither 0 nor a negative errno")
    }
    let refusal = module.withLinks { $0.refusal }
    let why = refusal?.errno == -result ? refusal.map { ": \($0.reason())" } ?? "" : ""
    return ModuleError(module.name, -result, "its init failed\(why)")
  }

  /// Forgets a module whose image is gone, and tells observers before `next`.
  func forget(_ module: Module, because reason: StateReason? = nil, then next: @escaping ModuleQueue.Job) {
    remove(module, because: reason)
    let observers = module.withLinks { $0.observers }
    if observers.isEmpty { return next() }
    module.call(.observers, onHandOver: next) {
      self.tell(observers, hasGone: module.name)
    } then: {
      next()
    }
  }

  private func remove(_ module: Module, because reason: StateReason? = nil) {
    withState { state in
      if state.modules[module.name] === module { state.modules[module.name] = nil }
      state.loaded.removeAll { $0 === module }
    }
    setState(.gone, of: module, because: reason)
    // Not before: its code may have called code of its providers until its image was unmapped.
    releaseProviders(module.providers, of: module.fileName)
  }

  func log(_ module: Module, _ line: String) {
    let handler = withState { $0.log }
    handler?(module.name, line)
  }
}
