internal import Bigref
internal import Glibc
internal import Quiescence

extension ModuleManager {
  func startUnload(
    _ name: String, _ policy: BusyPolicy?, _ end: RequestEnd, done: @escaping Completion<UnloadOutcome>
  ) {
    begin(name, end, done: done) { self.unload(name, policy, end, done) }
  }

  /// On the queue, as the last thing that its caller does.
  ///
  /// - Parameter again: What repeats the request; nil: this.
  func unload(
    _ name: String, _ policy: BusyPolicy?, _ end: RequestEnd?, _ done: @escaping Completion<UnloadOutcome>,
    again: ModuleQueue.Job? = nil
  ) {
    let again = again ?? { self.unload(name, policy, end, done) }
    let done = traced(.unload, name, done)
    let others = otherVersions(of: name)
    // Without another version under the name, the request is about one that is still going.
    guard let module = module(named: name) ?? others.first else {
      return done(.failure(Self.notLoaded(name)))
    }
    for version in others where version !== module { tryAgain(version) }
    let policy = policy ?? module.policy.ifBusy
    if policy == .whenIdle { return unloadWhenIdle(module, end, done: done) }
    if let attempt = module.attempt { return join(attempt, policy, end, done, again) }
    let state = module.currentState
    // By the number that the kernel has for it, whatever the policy: they would go on using it.
    if state == .live, let error = neededError(module) { return done(.failure(error)) }
    if state == .live && module.isPermanent { return done(.failure(module.permanentError)) }
    if state != .live && state != .cleanup {
      return done(.failure(ModuleError(module.name, EBUSY, "is \(state) already\(module.remark)")))
    }
    attempt(UnloadOperation(module, policy), end, done)
  }

  /// Begins an unload of a module that is live or in cleanup.
  func attempt(
    _ operation: UnloadOperation, _ end: RequestEnd?, _ done: @escaping Completion<UnloadOutcome>
  ) {
    let module = operation.module
    module.withLinks { $0.attempt = operation }
    operation.join(end, done)
    if module.currentState == .cleanup { module.scheme.retry(operation) } else { operation.check() }
  }

  private func join(
    _ attempt: UnloadOperation, _ policy: BusyPolicy, _ end: RequestEnd?,
    _ done: @escaping Completion<UnloadOutcome>, _ again: @escaping ModuleQueue.Job
  ) {
    let module = attempt.module
    if policy == .fail {
      let holders = module.holders
      let users = holders.isEmpty ? "" : ", in use: \(holders.joined)"
      let state = module.currentState == .live ? "being unloaded" : "\(module.currentState)"
      return done(
        .failure(
          ModuleError(module.name, EBUSY, "is \(state) already\(module.remark)\(users)", holders: holders)))
    }
    // An attempt that does not wait may be refused yet: that would be no answer to a request that
    // waits.
    if !attempt.mayWait && !attempt.isPromised { return attempt.afterVerdict(end, done, again) }
    attempt.join(end, done)
    if policy == .force { attempt.force() }
  }

  /// Adds an object, unless its name is taken. Returns 0 or a negative errno.
  func publish(_ object: NamedObject, of module: Module) -> Int32 {
    withState { state in
      let owner = state.objects[object.name]?.owner
      let predecessor = module.withLinks { $0.predecessor }
      // The takeover hands it over. Until then it is the other version's, also while that is going:
      // it may come back.
      let isHeldBack =
        predecessor?.withLinks { $0.objects.contains { $0.name == object.name } } ?? false
      let isOwn = module.withLinks { $0.objects.contains { $0.name == object.name } }
      if isOwn || owner != nil && owner !== predecessor {
        let publisher = owner?.name ?? module.name
        return module.refuse(EEXIST) { "object '\(object.name)' is published by module '\(publisher)'" }
      }
      let result: Int32 = module.withLinks { links in
        if links.state != .coming && links.state != .live { return -EBUSY }
        links.objects.append(object)
        return 0
      }
      if result == 0 && owner == nil && !isHeldBack { state.objects[object.name] = (object, module) }
      return result
    }
  }

  /// Takes the names of a module's objects away. They cannot be opened from here on.
  func withdraw(_ module: Module) {
    withState { state in
      for object in module.withLinks({ $0.objects }) where state.objects[object.name]?.owner === module {
        state.objects[object.name] = nil
      }
    }
  }

  /// Gives the names back. One that another module took meanwhile stays with that module, and is
  /// returned.
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

extension Module {
  /// What it is inside, for the end of a line about its state.
  var remark: String {
    guard let activity, activity.kind != .users else { return "" }
    return " (\(activity))"
  }
}
