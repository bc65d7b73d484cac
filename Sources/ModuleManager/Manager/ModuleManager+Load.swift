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
  let done: Done
  private let answered = Once()
  /// What it is about, and waits for.
  private let subject: Locked<(text: String, module: Module?)>

  init(
    _ subject: String, policy: ModulePolicy = ModulePolicy(), _ parameters: [String: String],
    named name: String? = nil, for user: String? = nil, done: @escaping Done
  ) {
    self.policy = policy
    self.parameters = parameters
    self.name = name
    self.user = user
    self.done = done
    self.subject = Locked((subject, nil))
  }

  /// The first answer counts.
  func answer(_ result: Result<ModuleStatus, ModuleError>) { if answered.take() { done(result) } }

  /// The request's end answers it. What has begun goes on: an `init` cannot be interrupted.
  func attach(_ end: RequestEnd) {
    end.attach { self.answer(.failure(self.error($0))) }
  }

  /// Whether the request was answered, so that nothing more is begun for it.
  var isOver: Bool { answered.isOver }

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
      guard let resolved = realpath(path, nil) else {
        throw ModuleError(path, errno, errno == ENOENT ? "no such file" : "cannot be resolved")
      }
      let absolute = String(cString: resolved)
      free(resolved)
      let file: FileIdentity
      do { file = try FileIdentity(path: absolute) } catch {
        throw ModuleError(path, error.errno, error.errno == EISDIR ? "is a directory" : "not a regular file")
      }
      if let loaded = withState({ state in state.modules.values.first { $0.file == file } }) {
        // Mapping it now would hand out the old image once more, and `dlclose` would only count
        // down.
        if waitUntilSettled(loaded, load, then: { self.load(path, load) }) { return }
        throw alreadyLoaded(loaded, "is loaded already")
      }
      let info = try ModuleError.ofFiles { () throws(ModuleFileError) in try ModuleInfo(path: absolute) }
      try checkName(info.moduleName, load, path)
      let providers = try holdProviders(of: info)
      let mapping = tracer.begin(.map, ModuleName.ofFile(absolute))
      queue.call {
        Result { () throws(ModuleError) in
          let (image, entry) = try Image.open(absolute)
          return MappedModule(image: image, entry: entry)
        }
      } then: { result in
        switch result {
        case .success(let mapped):
          self.tracer.end(mapping)
          self.loadMapped(mapped, path, file, providers, load)
        case .failure(let error):
          self.tracer.end(mapping, errno: error.errno, label: error.reason)
          self.releaseProviders(providers, of: ModuleName.ofFile(absolute))
          load.answer(.failure(error))
        }
      }
    } catch {
      load.answer(.failure(error))
    }
  }

  private struct MappedModule: Sendable {
    let image: Image
    nonisolated(unsafe) let entry: UnsafePointer<quiescent_module>
  }

  /// Its image is mapped, and its constructors have run.
  private func loadMapped(
    _ mapped: MappedModule, _ path: String, _ file: FileIdentity, _ providers: [Module], _ load: ModuleLoad
  ) {
    /// Undoes the mapping before `next`, by which destructors run.
    func giveUp(then next: @escaping ModuleQueue.Job) {
      queue.call {
        _ = mapped.image.close()
      } then: {
        self.releaseProviders(providers, of: ModuleName.ofFile(mapped.image.path))
        next()
      }
    }
    do throws(ModuleError) {
      let code = try ImageCode(mapped.entry, path: path)
      try checkName(code.name, load, path)
      if let loaded = module(named: code.name) {
        return giveUp {
          if self.waitUntilSettled(loaded, load, then: { self.load(path, load) }) { return }
          load.answer(.failure(self.alreadyLoaded(loaded, "a module of this name is loaded already")))
        }
      }
      if load.isOver { return giveUp {} }
      try code.setFirst(load.parameters)
      initialize(
        Module(
          code, image: mapped.image, file: file, policy: load.policy, manager: self, providers: providers,
          isAutoloaded: load.user != nil), load)
    } catch {
      giveUp { load.answer(.failure(error)) }
    }
  }

  /// Throws `ENOEXEC` when a module that is loaded under a name has another one. Nil: not known
  /// before it is mapped.
  private func checkName(_ name: String?, _ load: ModuleLoad, _ path: String) throws(ModuleError) {
    guard let name, let expected = load.name, ModuleName.key(name) != ModuleName.key(expected) else {
      return
    }
    throw ModuleError(path, ENOEXEC, "its module is called '\(name)', and was found as '\(expected)'")
  }

  /// Why a module is in the way of one that is to be loaded.
  func alreadyLoaded(_ module: Module, _ reason: String) -> ModuleError {
    if module.currentState == .cleanup {
      return ModuleError(
        module.name, EEXIST,
        "is in cleanup: its exit has refused, and its interfaces are down; unload it again")
    }
    return ModuleError(module.name, EEXIST, reason)
  }

  /// Runs `job` when a module that is coming or going has come, has gone, or serves on. False when
  /// it is neither.
  func waitUntilSettled(_ module: Module, _ load: ModuleLoad, then job: @escaping ModuleQueue.Job) -> Bool {
    load.concerns(module)
    return module.withLinks { links in
      if !links.state.isTransient { return false }
      links.afterwards.append(job)
      return true
    }
  }

  /// As the last thing that its caller does.
  func initialize(_ module: Module, _ load: ModuleLoad) {
    load.concerns(module)
    withState { state in
      state.modules[module.name] = module
      state.order.append(module.name)
    }
    askObservers(module) { result in
      switch result {
      case .success(let observers):
        module.withLinks { $0.observers = observers }
        self.callInit(of: module, load)
      case .failure(let error):
        // Nothing of it has run but its constructors.
        module.call(.unmap) {
          _ = module.image?.close()
        } then: {
          self.remove(module)
          load.answer(.failure(error))
        }
      }
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
        self.setState(.live, of: module)
        return load.answer(.success(module.status))
      }
      // What it registered before it failed may be in use by now: leave as every module of the
      // scheme leaves. The answer waits for that, unless that waits for users.
      let error = ModuleError(
        module.name, result < 0 ? -result : EINVAL,
        result < 0 ? "its init failed" : "its init returned \(result), neither 0 nor a negative errno")
      let operation = UnloadOperation(module, .wait, isAfterFailedInit: true)
      module.withLinks { $0.attempt = operation }
      operation.join(nil) { _ in load.answer(.failure(error)) }
      module.scheme.unload(operation)
    }
  }

  /// Forgets a module whose image is gone, and tells observers before `next`.
  func forget(_ module: Module, then next: @escaping ModuleQueue.Job) {
    remove(module)
    let observers = module.withLinks { $0.observers }
    if observers.isEmpty { return next() }
    module.call(.observers, onHandOver: next) {
      self.tell(observers, hasGone: module.name)
    } then: {
      next()
    }
  }

  private func remove(_ module: Module) {
    withState { state in
      state.modules[module.name] = nil
      state.order.removeAll { $0 == module.name }
    }
    setState(.gone, of: module)
    // Not before: its code may have called theirs until its image went.
    releaseProviders(module.providers, of: module.fileName)
  }

  func log(_ module: Module, _ line: String) {
    let handler = withState { $0.log }
    handler?(module.name, line)
  }
}
