internal import Bigref
internal import Glibc
internal import Quiescence

extension ModuleManager {
  func startUnload(
    _ name: String, _ policy: BusyPolicy?, cancelledBy cancellation: WaitCancellation? = nil,
    _ end: EarlyEnd = EarlyEnd(), done: @escaping Completion<UnloadOutcome>
  ) {
    let entry = cancellation?.add { end.request(EINTR, "the wait was cancelled") }
    let done: Completion<UnloadOutcome> = { result in
      if let entry { cancellation?.remove(entry) }
      done(result)
    }
    run(name, done: done) { self.unload(name, policy, end, self.traced(.unload, name, done)) }
  }

  /// Waits at most for `limit`, if there is one.
  func unloadBlocking(
    _ name: String, _ policy: BusyPolicy?, within limit: Duration?,
    cancelledBy cancellation: WaitCancellation?
  ) throws(ModuleError) -> UnloadOutcome {
    let end = EarlyEnd()
    return try block(
      name, within: limit, orElse: { end.request(ETIMEDOUT, Self.overdue($0)) },
      { self.startUnload(name, policy, cancelledBy: cancellation, end, done: $0) })
  }

  func unloadSuspending(
    _ name: String, _ policy: BusyPolicy?, within limit: Duration?,
    cancelledBy cancellation: WaitCancellation?
  ) async throws(ModuleError) -> UnloadOutcome {
    if let error = deadlock(name) { throw error }
    let end = EarlyEnd()
    let timer = limit.map { limit in
      Task {
        try await Task.sleep(for: limit)
        end.request(ETIMEDOUT, Self.overdue(limit))
      }
    }
    defer { timer?.cancel() }
    let result = await withTaskCancellationHandler {
      await suspended {
        (continuation: UnsafeContinuation<Result<UnloadOutcome, ModuleError>, Never>) in
        self.startUnload(name, policy, cancelledBy: cancellation, end) { continuation.resume(returning: $0) }
      }
    } onCancel: {
      end.request(ECANCELED, "the task that waited was cancelled")
    }
    return try result.get()
  }

  private static func overdue(_ limit: Duration) -> String { "waited \(limit)" }

  /// On the manager's thread.
  private func unload(
    _ name: String, _ policy: BusyPolicy?, _ end: EarlyEnd,
    _ done: @escaping Completion<UnloadOutcome>
  ) {
    guard let module = withState({ $0.modules[name] }) else {
      return done(.failure(ModuleError(name, ENOENT, "no such module is loaded")))
    }
    let departure = Departure(module, policy ?? module.policy.ifBusy, cancelledBy: end.cancellation, done)
    end.attach(departure)
    // By the number that the kernel has for it, whatever the policy: they would go on using it.
    if module.currentState == .live, let error = neededError(module) { return done(.failure(error)) }
    switch module.currentState {
    case .live where module.isPermanent:
      done(.failure(ModuleError(name, EBUSY, "permanent: it has no exit")))
    case .live: module.scheme.unload(departure)
    case .cleanup: module.scheme.retry(departure)
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
