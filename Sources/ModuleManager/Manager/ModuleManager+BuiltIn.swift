public import Bigref
internal import Glibc
internal import ModuleFiles

/// Modules that are compiled in: found by their names, and started in order of what they depend on.
///
/// ```swift
/// let manager = ModuleManager()
/// let flows = BuiltInModule("flows", dependsOn: ["log"]) { _ in 0 }
/// let log = BuiltInModule("log") { _ in 0 }
/// try manager.load([flows, log])
/// ```
///
/// Source: Adam J. Richter's list of changes, quoted by Rusty Russell, 26 November 2002: order of
/// initialization from dependencies.
extension ModuleManager {
  /// Lets `request(_:parameters:within:cancelledBy:)` and dependencies find these
  /// modules, before those of the directory; one of the same name replaces another from the next
  /// load on. Starts none.
  public func provide(_ modules: [BuiltInModule]) {
    withState { state in
      for module in modules { state.builtIns[ModuleName.key(module.name)] = module }
    }
  }

  /// Starts modules that are compiled in, each after those that it depends on, whatever their order
  /// here; and loads what they need beyond these, as
  /// `request(_:parameters:within:cancelledBy:)` does. It also
  /// ``provide(_:)-([BuiltInModule])``s them. Those that are loaded already stay as they are.
  /// Returns them in the order given.
  ///
  /// - Throws: before anything is started, `EEXIST` for two of one name, `ENOENT` for a dependency
  ///   that is nowhere, and `ELOOP` for a cycle, spelled out; and whatever starting one throws:
  ///   those that were started before it stay.
  /// - Parameters:
  ///   - modules: In any order.
  ///   - limit: Then it ends with `ETIMEDOUT`, and what is begun goes on; see
  ///     `load(path:policy:parameters:as:within:cancelledBy:)`.
  ///   - cancellation: The same, with `EINTR`.
  @available(*, noasync, message: "await load(_:) instead of blocking the task's thread")
  @discardableResult
  public func load(
    _ modules: [BuiltInModule], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> [ModuleStatus] {
    try block(modules.first?.name ?? "", within: limit, cancelledBy: cancellation) {
      self.startLoad(modules, $0, done: $1)
    }
  }

  /// Starts modules that are compiled in, in order of their dependencies; see the blocking form.
  @discardableResult
  public func load(
    _ modules: [BuiltInModule], within limit: Duration? = nil,
    cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> [ModuleStatus] {
    try await suspend(modules.first?.name ?? "", within: limit, cancelledBy: cancellation) {
      self.startLoad(modules, $0, done: $1)
    }
  }

  /// Starts a module that is compiled in. As
  /// `load(path:policy:parameters:as:within:cancelledBy:)`, without an image: what it depends on
  /// is loaded already.
  @available(*, noasync, message: "await load(_:) instead of blocking the task's thread")
  @discardableResult
  public func load(
    _ builtIn: BuiltInModule, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:],
    within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) -> ModuleStatus {
    try block(builtIn.name, within: limit, cancelledBy: cancellation) {
      self.startLoad(builtIn, policy, parameters, $0, done: $1)
    }
  }

  /// Starts a module that is compiled in; see the blocking form.
  @discardableResult
  public func load(
    _ builtIn: BuiltInModule, policy: ModulePolicy = ModulePolicy(), parameters: [String: String] = [:],
    within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) -> ModuleStatus {
    try await suspend(builtIn.name, within: limit, cancelledBy: cancellation) {
      self.startLoad(builtIn, policy, parameters, $0, done: $1)
    }
  }

  private func startLoad(
    _ builtIn: BuiltInModule, _ policy: ModulePolicy, _ parameters: [String: String], _ end: RequestEnd,
    done: @escaping Completion<ModuleStatus>
  ) {
    begin(builtIn.name, end, done: done) {
      let load = ModuleLoad(
        builtIn.name, policy: policy, parameters, done: self.traced(.load, builtIn.name, done))
      load.attach(end)
      self.load(builtIn, load)
    }
  }

  private func startLoad(
    _ modules: [BuiltInModule], _ end: RequestEnd, done: @escaping Completion<[ModuleStatus]>
  ) {
    var keys: Set<String> = []
    for module in modules where !keys.insert(ModuleName.key(module.name)).inserted {
      return done(.failure(ModuleError(module.name, EEXIST, "is there twice")))
    }
    for module in modules {
      if let error = module.nameError { return done(.failure(error)) }
    }
    let names = modules.map(\.name)
    guard let first = names.first else { return done(.success([])) }
    begin(first, end, done: done) {
      self.provide(modules)
      let request = LoadRequest(first)
      request.join(end, done)
      self.serve(request) { index in names.compactMap(index.entry) }
    }
  }

  /// On the queue, as the last thing that its caller does.
  func load(_ builtIn: BuiltInModule, _ load: ModuleLoad) {
    if load.isOver { return }
    do throws(ModuleError) {
      if let error = builtIn.nameError { throw error }
      if let loaded = module(named: builtIn.name) {
        return found(loaded, by: load, "a module of this name is loaded already") {
          self.load(builtIn, load)
        }
      }
      try checkLoading(builtIn.name)
      let providers = try holdProviders(builtIn.dependsOn, of: builtIn.name)
      do throws(ModuleError) { try builtIn.setFirst(load.parameters) } catch {
        releaseProviders(providers, of: builtIn.name)
        throw error
      }
      initialize(
        Module(
          builtIn, policy: load.policy, manager: self, providers: providers,
          isAutoloaded: load.user != nil), load)
    } catch { load.answer(.failure(error)) }
  }
}

extension BuiltInModule {
  var nameError: ModuleError? {
    if !ModuleName.isValid(name) { return ModuleError(name, EINVAL, "is no name for a module") }
    for other in dependsOn where !ModuleName.isValid(other) {
      return ModuleError(name, EINVAL, "depends on '\(other)', which is no module's name")
    }
    return nil
  }
}

extension ModuleIndex {
  /// With those that are compiled in. One of them comes before a file of its name.
  func adding(_ modules: [BuiltInModule]) -> ModuleIndex {
    let entries = modules.map { module in
      Entry(
        name: module.name, file: "", stamp: FileStamp.none, depends: module.dependsOn, softBefore: [],
        softAfter: [], aliases: [])
    }
    return ModuleIndex(directory: directory, entries: entries + self.entries, skipped: skipped)
  }
}

extension ModuleManager {
  /// What requests find: the modules of the directory and those that are compiled in, as the
  /// configuration changes them. Nil without either.
  func findable() throws(ModuleError) -> ModuleIndex? {
    let (directory, builtIns) = withState { ($0.directory, Array($0.builtIns.values)) }
    if directory == nil && builtIns.isEmpty { return nil }
    let index =
      try ModuleError.ofFiles { () throws(ModuleFileError) in try directory?.index() }
      ?? ModuleIndex(directory: "", entries: [], skipped: [])
    return index.adding(builtIns).configured(by: configuration)
  }
}
