internal import CModuleABI
internal import Glibc
internal import ModuleFiles
internal import Quiescence

extension ModuleManager {
  func startLoad(
    _ path: String, _ policy: ModulePolicy, _ parameters: [String: String],
    done: @escaping Completion<ModuleStatus>
  ) {
    run(path, done: done) {
      self.load(path, policy, parameters, done: self.traced(.load, ModuleName.ofFile(path), done))
    }
  }

  /// On the manager's thread. `isFor` names the module that depends on this one, when it is loaded for that alone;
  /// `expected` is the name by which a directory's index found the file: a module of another name is refused.
  func load(
    _ path: String, _ policy: ModulePolicy, _ parameters: [String: String] = [:], isFor user: String? = nil,
    named expected: String? = nil, done: @escaping Completion<ModuleStatus>
  ) {
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
      let loaded = withState { state in state.modules.values.first { $0.file == file } }
      if let loaded {
        // Mapping it now would hand out the old image once more, and `dlclose` would only count down.
        if waitUntilGone(
          loaded, then: { self.load(path, policy, parameters, isFor: user, named: expected, done: done) })
        {
          return
        }
        throw ModuleError(loaded.name, EEXIST, "is loaded already")
      }
      let info = try ModuleError.ofFiles { () throws(ModuleFileError) in try ModuleInfo(path: absolute) }
      if let expected { try checkName(info.moduleName, expected, path) }
      let providers = try holdProviders(of: info)
      let image: Image
      let entry: UnsafePointer<quiescent_module>
      let mapping = tracer.begin(.map, ModuleName.ofFile(absolute))
      do throws(ModuleError) {
        (image, entry) = try Image.open(absolute)
        tracer.end(mapping)
      } catch {
        tracer.end(mapping, errno: error.errno, label: error.reason)
        releaseProviders(providers, of: ModuleName.ofFile(absolute))
        throw error
      }
      let code: ImageCode
      do throws(ModuleError) {
        code = try ImageCode(entry, path: path)
        if let expected { try checkName(code.name, expected, path) }
        if withState({ $0.modules[code.name] }) == nil { try code.setFirst(parameters) }
      } catch {
        _ = image.close()
        releaseProviders(providers, of: ModuleName.ofFile(absolute))
        throw error
      }
      let name = code.name
      if let loaded = withState({ $0.modules[name] }) {
        _ = image.close()
        releaseProviders(providers, of: ModuleName.ofFile(absolute))
        if waitUntilGone(
          loaded, then: { self.load(path, policy, parameters, isFor: user, named: expected, done: done) })
        {
          return
        }
        throw ModuleError(name, EEXIST, "a module of this name is loaded already")
      }
      initialize(
        Module(
          code, image: image, file: file, policy: policy, manager: self, providers: providers,
          isAutoloaded: user != nil), done)
    } catch {
      done(.failure(error))
    }
  }

  /// Throws `ENOEXEC` when a module that was found as `expected` has another name. Nil: not known before it is mapped.
  private func checkName(_ name: String?, _ expected: String, _ path: String) throws(ModuleError) {
    guard let name, ModuleName.key(name) != ModuleName.key(expected) else { return }
    throw ModuleError(path, ENOEXEC, "its module is called '\(name)', and was found as '\(expected)'")
  }

  /// Tries the load again when a module that is going has gone, or has not: then it fails. False when it is not going.
  func waitUntilGone(_ module: Module, then job: @escaping ModuleThread.Job) -> Bool {
    module.withLinks { links in
      if links.state != .going { return false }
      links.afterwards.append(job)
      return true
    }
  }

  func initialize(_ module: Module, _ done: @escaping Completion<ModuleStatus>) {
    do throws(ModuleError) {
      let observers = try askObservers(module)
      module.withLinks { $0.observers = observers }
    } catch {
      // Nothing of it has run but its constructors.
      _ = module.image?.close()
      releaseProviders(module.providers, of: module.fileName)
      return done(.failure(error))
    }
    withState { state in
      state.modules[module.name] = module
      state.order.append(module.name)
    }
    setState(.coming, of: module)
    let span = tracer.begin(.initialize, module.name)
    let result = module.code.callInit(module)
    tracer.end(span, errno: result < 0 ? -result : result == 0 ? 0 : EINVAL)
    if result == 0 {
      setState(.live, of: module)
      done(.success(module.status))
      return
    }
    // What it registered before it failed may be in use by now: leave as every module of the scheme leaves.
    let error = ModuleError(
      module.name, result < 0 ? -result : EINVAL,
      result < 0 ? "its init failed" : "its init returned \(result), neither 0 nor a negative errno")
    module.scheme.unload(
      UnloadOperation(module, .wait, isAfterFailedInit: true) { _ in done(.failure(error)) })
  }

  /// Forgets a module whose image is gone.
  func forget(_ module: Module) {
    withState { state in
      state.modules[module.name] = nil
      state.order.removeAll { $0 == module.name }
    }
    setState(.gone, of: module)
    // Not before: its code may have called theirs until its image went.
    releaseProviders(module.providers, of: module.fileName)
    tell(module.withLinks { $0.observers }, hasGone: module.name)
  }

  func log(_ module: Module, _ line: String) {
    let handler = withState { $0.log }
    handler?(module.name, line)
  }
}
