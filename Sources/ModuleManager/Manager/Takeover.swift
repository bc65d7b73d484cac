internal import Bigref
internal import Glibc
internal import Quiescence

/// A replacement of one version of a module by another. On the manager's queue.
///
/// Until the takeover nothing about the old version is different: it serves, and can be unloaded,
/// or replaced by a third version. So a new version whose `init` hangs holds nothing up. If the old
/// one has lost its name by the time that `init` returns, the new one leaves again.
final class Takeover: Sendable {
  let end: RequestEnd
  /// Whether the request waits for users of the old version.
  let isPatient: Bool
  let done: ModuleManager.Completion<ModuleReplacement>
  private let version = Locked<Version?>(nil)

  /// The old version, and what its parameters hold.
  private struct Version {
    let module: Module
    let values: [String: String]
    /// `Links.changes` at that moment, or when they were carried over.
    var changes: [String: Int]
  }

  init(
    _ end: RequestEnd, isPatient: Bool, _ done: @escaping ModuleManager.Completion<ModuleReplacement>
  ) {
    self.end = end
    self.isPatient = isPatient
    self.done = done
  }

  var old: Module? { version.withLock { $0?.module } }

  /// Replaces a module that is live: its image is mapped.
  func begin(_ module: Module) {
    var values: [String: String] = [:]
    for slot in module.code.parameters {
      let text = slot.form.text(of: slot.load())
      // A default may lie outside of the declared range: no request could give it.
      if (try? slot.form.parse(text)) != nil { values[slot.form.name] = text }
    }
    version.withLock { [values] in
      $0 = Version(module: module, values: values, changes: module.withLinks { $0.changes })
    }
  }

  /// What the parameters of the new version hold at first: what was asked for, and otherwise what
  /// those of the same name hold now.
  func parameters(for code: any ModuleCode, _ asked: [String: String]) throws(ModuleError) -> [String: String]
  {
    var all = asked
    let present: [String: String] = version.withLock { $0?.values ?? [:] }
    for (name, text) in present where asked[name] == nil {
      guard let slot = code.parameters.first(where: { $0.form.name == name }) else { continue }
      do throws(ParameterError) { _ = try slot.form.parse(text) } catch {
        throw ModuleError(
          code.name, error.errno, "\(name): the new version refuses its present value: \(error.reason)")
      }
      all[name] = text
    }
    return all
  }

  /// The parameters that requests have changed since they were last carried over, with their
  /// values. The old version is live.
  func takeChanges() -> [String: String] {
    version.withLock { version in
      guard let old = version?.module, let before = version?.changes else { return [:] }
      let now = old.withLinks { $0.changes }
      version?.changes = now
      var changed: [String: String] = [:]
      for slot in old.code.parameters where now[slot.form.name] != before[slot.form.name] {
        changed[slot.form.name] = slot.form.text(of: slot.load())
      }
      return changed
    }
  }

  /// The new version must be able to leave: it may find the name lost when its `init` returns.
  func checkExit(of code: any ModuleCode) throws(ModuleError) {
    if code.isPermanent {
      throw ModuleError(code.name, EINVAL, "the new version has no exit: it could not give way")
    }
  }
}

extension ModuleManager {
  /// The `init` of `new` has succeeded. As the last thing that its caller does.
  func takeOver(_ new: Module, _ takeover: Takeover, _ load: ModuleLoad) {
    guard let old = takeover.old else { return }
    @Sendable func retreat(_ error: ModuleError) {
      leave(new, .noTakeover(error)) { load.answer(.failure(error)) }
    }
    if load.isOver || module(named: old.name) !== old { return retreat(old.lostError) }
    let again: ModuleQueue.Job = { self.takeOver(new, takeover, load) }
    // A request that changes a parameter of the old version: the new one gets that value.
    let isBeingSet = old.withLinks { links in
      if links.calls.current?.kind != .set { return false }
      links.calls.afterwards.append(again)
      return true
    }
    if isBeingSet { return }
    guard let state = old.settledState(orLater: again) else { return }
    if state != .live { return retreat(old.cleanupError) }
    do throws(ModuleError) {
      try checkCycle(of: new.providers, through: old)
      if let name = claimNames(of: new, from: old) {
        throw ModuleError(new.name, EEXIST, "another module publishes \(name)")
      }
      let changes = takeover.takeChanges().filter { load.parameters[$0.key] == nil }
      let contents = try new.code.contents(of: changes)
      if contents.isEmpty { return exchange(old, new, takeover, load) }
      new.call(.set) { () -> ModuleError? in
        for (slot, content) in contents {
          let result = slot.change(to: content)
          if result == 0 { continue }
          return ModuleError(
            new.name, result < 0 ? -result : EINVAL,
            "\(slot.form.name): the new version refuses its present value")
        }
        return nil
      } then: { error in
        if let error { retreat(error) } else { again() }
      }
    } catch { retreat(error) }
  }

  /// The takeover itself.
  ///
  /// The old version is going first: so it registers nothing while its hooks are exchanged. Its
  /// references, its open objects and the calls inside it stay with it.
  private func exchange(_ old: Module, _ new: Module, _ takeover: Takeover, _ load: ModuleLoad) {
    _ = load.handOver()
    setState(.going, of: old, because: StateReason("another version has taken over"))
    // Before it has the names: an object of a module that is coming cannot be opened.
    setState(.live, of: new)
    // Under both: a thread that registers meanwhile finds the old version going, or the new one in
    // service.
    old.linking.withLock { _ in
      new.linking.withLock { _ in
        exchangeHooks(old, new)
        exchangeNames(old, new)
      }
    }
    handOverUsers(from: old, to: new)
    let operation = UnloadOperation(old, takeover.isPatient ? .replaced : .replacedAndNotAwaited)
    old.withLinks { $0.attempt = operation }
    operation.join(takeover.end) { result in
      takeover.done(
        .success(
          ModuleReplacement(module: new.status, unload: result, keepsState: new.hasInheritedState)))
    }
    // Before its scheme closes the gates of its hooks. Otherwise: caller: loads the old table;
    // queue: exchanges the tables, closes the gate; caller: is refused at the gate, and finds the
    // hook of neither version.
    operation.afterReaders { old.scheme.unload(operation) }
  }

  /// Point by point.
  private func exchangeHooks(_ old: Module, _ new: Module) {
    let leaving = old.takeLinkedHooks()
    let coming = new.withLinks { $0.hooks }
    var points: [any AnyHookPoint] = []
    for point in leaving.map(\.point) + coming.map(\.point) where !points.contains(where: { $0 === point }) {
      points.append(point)
    }
    for point in points {
      let indices = coming.indices.filter { coming[$0].point === point }
      let hooks = indices.map { index in
        UnlinkedHook(
          function: coming[index].function, closure: coming[index].closure, gate: new.gate(for: point),
          priority: coming[index].priority)
      }
      let ids = point.replace(leaving.filter { $0.point === point }.map(\.id), with: hooks)
      new.withLinks { links in
        for (index, id) in zip(indices, ids) {
          links.hooks[index].id = id
          links.hooks[index].isLinked = true
        }
      }
    }
  }

  /// The names of objects, and that of the module.
  private func exchangeNames(_ old: Module, _ new: Module) {
    withState { state in
      for object in old.withLinks({ $0.objects }) where state.objects[object.name]?.owner === old {
        state.objects[object.name] = nil
      }
      for object in new.withLinks({ $0.objects }) { state.objects[object.name] = (object, new) }
      state.modules[new.name] = new
      new.withLinks { $0.predecessor = nil }
      old.withLinks { $0.isReplaced = true }
    }
  }

  /// Makes names sure for the takeover that another module may have given back, or taken, since
  /// they were published. Returns one that is taken.
  private func claimNames(of new: Module, from old: Module) -> String? {
    withState { state in
      for object in new.withLinks({ $0.objects }) {
        guard let owner = state.objects[object.name]?.owner else {
          state.objects[object.name] = (object, new)
          continue
        }
        if owner !== old && owner !== new { return object.name }
      }
      return nil
    }
  }

  /// The modules that depend on the old version, the requests that have found it, and what is
  /// unloaded with it.
  private func handOverUsers(from old: Module, to new: Module) {
    for user in dependents(of: old) {
      let label = Self.label(user.fileName)
      for (index, provider) in user.providers.enumerated() where provider === old {
        // No scheme refuses, of a module that is live. It would keep the old version.
        if !new.get(for: label) { continue }
        user.withLinks { $0.providers[index] = new }
        old.put(for: label)
      }
    }
    let (requests, softProviders, isAutoloaded) = old.withLinks { links in
      defer { links.requests = [:] }
      return (links.requests, links.softProviders, links.isAutoloaded)
    }
    new.withLinks { links in
      links.requests.merge(requests) { $0 + $1 }
      (links.softProviders, links.isAutoloaded) = (softProviders, isAutoloaded)
    }
  }

  /// Throws `ELOOP` when one of the modules is `old`, or depends on it: it would depend on the new
  /// version, and neither could go.
  func checkCycle(of providers: [Module], through old: Module) throws(ModuleError) {
    for provider in providers {
      var left = [provider]
      while let next = left.popLast() {
        if next === old {
          let link = provider === old ? "itself" : "\(provider.name), which depends on it"
          throw ModuleError(old.name, ELOOP, "the new version depends on \(link)")
        }
        left += next.providers
      }
    }
  }
}

extension ModuleCode {
  /// Values for parameters that can be changed after `init`; those that it does not have are left
  /// out.
  fileprivate func contents(
    of values: [String: String]
  ) throws(ModuleError) -> [(slot: any ParameterSlot, content: ParameterContent)] {
    var contents: [(slot: any ParameterSlot, content: ParameterContent)] = []
    for (parameter, text) in values.sorted(by: { $0.key < $1.key }) {
      guard let slot = parameters.first(where: { $0.form.name == parameter }) else { continue }
      if !slot.form.isWritable {
        throw ModuleError(
          name, EAGAIN, "\(parameter): was changed while the new version started, which cannot change it")
      }
      contents.append((slot, try slot.parse(text, of: name)))
    }
    return contents
  }
}
