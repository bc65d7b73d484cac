public import Bigref
internal import Glibc

extension ModuleCode {
  /// Sets parameters before `init` runs: all of them, or none after an error.
  func setFirst(_ values: [String: String]) throws(ModuleError) {
    var contents: [(any ParameterSlot, ParameterContent)] = []
    for (parameter, text) in values.sorted(by: { $0.key < $1.key }) {
      let slot = try slot(parameter)
      contents.append((slot, try slot.parse(text, of: name)))
    }
    for (slot, content) in contents { slot.storeFirst(content) }
  }

  func slot(_ parameter: String) throws(ModuleError) -> any ParameterSlot {
    if let slot = parameters.first(where: { $0.form.name == parameter }) { return slot }
    let names = parameters.map(\.form.name).joined(separator: ", ")
    throw ModuleError(
      name, ENOENT,
      "has no parameter '\(parameter.prefix(40))'" + (names.isEmpty ? " and no other" : "; it has \(names)"))
  }
}

extension ParameterSlot {
  func parse(_ text: String, of module: String) throws(ModuleError) -> ParameterContent {
    do throws(ParameterError) { return try form.parse(text) } catch {
      throw ModuleError(module, error.errno, "\(form.name): \(error.reason)")
    }
  }
}

extension ModuleManager {
  /// The parameters of a loaded module, with their values at this moment.
  ///
  /// - Threads: as `load(path:policy:parameters:as:within:cancelledBy:)`.
  /// - Throws: `ENOENT` if the module is not loaded; `EBUSY` if it is not live, because its
  ///   variables may be unmapped.
  @available(*, noasync, message: "await parameters(of:) instead of blocking the task's thread")
  public func parameters(of name: String) throws(ModuleError) -> [ParameterStatus] {
    try block(name) { self.startParameters(of: name, $0, done: $1) }
  }

  /// The parameters of a loaded module; see the blocking form.
  public func parameters(of name: String) async throws(ModuleError) -> [ParameterStatus] {
    try await suspend(name) { self.startParameters(of: name, $0, done: $1) }
  }

  /// Changes a parameter of a loaded module, if the parameter may be changed and the module agrees.
  /// After an error the parameter is unchanged. An unload finds the call as a user of the module.
  ///
  /// - Parameters:
  ///   - parameter: Its name.
  ///   - name: The module's name.
  ///   - value: As text; see ``ModuleParameter``.
  ///   - limit: Then the request ends with `ETIMEDOUT`. A `set` function that has not returned runs
  ///     on, and may still change the parameter.
  ///   - cancellation: The same, with `EINTR`.
  /// - Threads: as `load(path:policy:parameters:as:within:cancelledBy:)`. The module's `set`
  ///   function runs on a thread of the manager.
  /// - Throws: `ENOENT` for an unknown module or parameter; `EPERM` if the parameter cannot be
  ///   changed; `EINVAL`, `ERANGE`, `E2BIG` or `ENAMETOOLONG` if it cannot hold the value; `EBUSY`
  ///   if the module is not live; or the error that the module returns.
  @available(*, noasync, message: "await set(_:of:to:) instead of blocking the task's thread")
  public func set(
    _ parameter: String, of name: String, to value: String, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) {
    try block(name, within: limit, cancelledBy: cancellation) {
      self.startSet(parameter, of: name, to: value, $0, done: $1)
    }
  }

  /// Changes a parameter of a loaded module; see the blocking form.
  public func set(
    _ parameter: String, of name: String, to value: String, within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) {
    try await suspend(name, within: limit, cancelledBy: cancellation) {
      self.startSet(parameter, of: name, to: value, $0, done: $1)
    }
  }

  // Runs on the manager's queue. Only jobs of the queue unmap images, so the variables exist while
  // this runs.
  private func startParameters(
    of name: String, _ end: RequestEnd, done: @escaping Completion<[ParameterStatus]>
  ) {
    begin(name, end, done: done) {
      do throws(ModuleError) {
        done(.success(try self.live(name).code.parameters.map { ParameterStatus($0) }))
      } catch { done(.failure(error)) }
    }
  }

  private func startSet(
    _ parameter: String, of name: String, to value: String, _ end: RequestEnd,
    done: @escaping Completion<Void>
  ) {
    begin(name, end, done: done) {
      do throws(ModuleError) {
        try self.change(parameter, of: self.live(name), to: value, end, done)
      } catch { done(.failure(error)) }
    }
  }

  /// As the last thing that its caller does.
  private func change(
    _ parameter: String, of module: Module, to value: String, _ end: RequestEnd,
    _ done: @escaping Completion<Void>
  ) throws(ModuleError) {
    let slot = try module.code.slot(parameter)
    if !slot.form.isWritable {
      throw ModuleError(
        module.name, EPERM, "\(parameter): cannot be changed while the module is loaded")
    }
    let content = try slot.parse(value, of: module.name)
    // A user like any other: an unload finds it, and waits for it or says so.
    let label = "set \(parameter)"
    if !module.get(for: label) { throw ModuleError(module.name, EBUSY, "is \(module.currentState)") }
    end.attach { reason in
      let what = module.activity.map { "\($0)" } ?? "has not been asked"
      done(.failure(ModuleError(module.name, reason.errno, "\(parameter): \(reason.text), \(what)")))
    }
    module.call(.set) {
      slot.change(to: content)
    } then: { result in
      module.put(for: label)
      if result == 0 {
        module.withLinks { $0.changes[parameter, default: 0] += 1 }
        return done(.success(()))
      }
      done(
        .failure(
          ModuleError(
            module.name, result < 0 ? -result : EINVAL,
            "\(parameter): the module refuses '\(value.prefix(40))'")))
    }
  }

  private func live(_ name: String) throws(ModuleError) -> Module {
    guard let module = module(named: name) else {
      throw ModuleError(name, ENOENT, "no such module is loaded")
    }
    let state = module.currentState
    if state != .live { throw ModuleError(module.name, EBUSY, "is \(state)") }
    return module
  }
}
