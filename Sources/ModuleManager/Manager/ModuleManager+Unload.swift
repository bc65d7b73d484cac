internal import Bigref
internal import Glibc
internal import Quiescence

extension ModuleManager {
  func startUnload(
    _ name: String, _ policy: BusyPolicy?, _ end: EarlyEnd = EarlyEnd(),
    done: @escaping Completion<UnloadOutcome>
  ) {
    run(name, done: done) { self.unload(name, policy, end, done) }
  }

  /// On the manager's thread.
  func unload(
    _ name: String, _ policy: BusyPolicy?, _ end: EarlyEnd, with group: UnloadGroup? = nil,
    _ done: @escaping Completion<UnloadOutcome>
  ) {
    let done = traced(.unload, name, done)
    guard let module = withState({ $0.modules[name] }) else {
      return done(.failure(Self.notLoaded(name)))
    }
    let policy = policy ?? module.policy.ifBusy
    if policy == .whenIdle {
      noticeEnd(end)
      return unloadWhenIdle(module, end, done: done)
    }
    let operation = UnloadOperation(module, policy, cancelledBy: end.cancellation, with: group, done)
    end.attach(operation)
    // By the number that the kernel has for it, whatever the policy: they would go on using it.
    if module.currentState == .live, let error = neededError(module) { return done(.failure(error)) }
    switch module.currentState {
    case .live where module.isPermanent:
      done(.failure(module.permanentError))
    case .live: module.scheme.unload(operation)
    case .cleanup: module.scheme.retry(operation)
    case let state:
      let holders = module.holders
      let who = holders.isEmpty ? "" : ", in use: " + holders.map(\.description).joined(separator: ", ")
      done(.failure(ModuleError(name, EBUSY, "is \(state) already\(who)", holders: holders)))
    }
  }

  /// Adds an object, unless its name is taken. Returns 0 or a negative errno.
  func publish(_ object: NamedObject, of module: Module) -> Int32 {
    withState { state in
      if state.objects[object.name] != nil { return -EEXIST }
      let isOpen = module.withLinks { links in
        if links.state != .coming && links.state != .live { return false }
        links.objects.append(object)
        return true
      }
      if !isOpen { return -EBUSY }
      state.objects[object.name] = (object, module)
      return 0
    }
  }

  /// Takes the names of a module's objects away. Nobody opens them from here on.
  func withdraw(_ module: Module) {
    withState { state in
      for object in module.withLinks({ $0.objects }) where state.objects[object.name]?.owner === module {
        state.objects[object.name] = nil
      }
    }
  }

  /// Gives the names back. One that another module took meanwhile stays with that module, and is returned.
  func republish(_ module: Module) -> [String] {
    withState { state in
      var taken: [String] = []
      for object in module.withLinks({ $0.objects }) {
        if let owner = state.objects[object.name]?.owner {
          if owner !== module { taken.append(object.name) }
        } else {
          state.objects[object.name] = (object, module)
        }
      }
      return taken
    }
  }
}
