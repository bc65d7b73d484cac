public import ModuleManager
public import ServiceLifecycle

/// A module manager as a service: at graceful shutdown it unloads all modules, those first that
/// depend on others.
///
/// A service group shuts its services down in the reverse of their order. So list this before the
/// services that call modules: they have ended by then, and have given back what they held.
///
/// A module that is in use is waited for, up to the limit. A task that is cancelled, rather than
/// shut down, ends at once, and leaves the modules loaded.
public struct ModuleManagerService: Service {
  private let manager: ModuleManager
  private let limit: Duration
  private let permanent: Set<String>

  /// A service that unloads the modules of `manager` when it is shut down.
  ///
  /// - Parameters:
  ///   - manager: Loads before, beside and after the service as usual.
  ///   - limit: For all modules together.
  ///   - permanent: The names of modules that stay, since they cannot be unloaded.
  public init(
    _ manager: ModuleManager, unloadingWithin limit: Duration = .seconds(10),
    leaving permanent: Set<String> = []
  ) {
    self.manager = manager
    self.limit = limit
    self.permanent = permanent
  }

  /// Waits for the shutdown, and unloads.
  ///
  /// - Throws: `CancellationError` if the task was cancelled before; ``ModulesLeft`` if a module
  ///   could not be unloaded.
  public func run() async throws {
    try await gracefulShutdown()
    // A cancellation of this task would end the wait of the manager: a group cancels its tasks some
    // time after the shutdown, and then the limit is what ends it.
    let failures = await Task { await unload() }.value
    if !failures.isEmpty { throw ModulesLeft(errors: failures) }
  }

  private func unload() async -> [ModuleError] {
    let deadline = ContinuousClock.now + limit
    var failures: [ModuleError] = []
    // Again as long as that helps: a load that was in progress ends after the first look.
    var before: [String]?
    while true {
      let names = manager.list().map(\.name).filter { !permanent.contains($0) }
      if names.isEmpty { return [] }
      if names == before { return failures }
      before = names
      do throws(ModuleError) {
        let ends = try await manager.unload(
          together: names, ifBusy: .wait, within: max(.zero, ContinuousClock.now.duration(to: deadline)))
        failures = ends.compactMap { end in
          if case .failure(let error) = end.result { error } else { nil }
        }
      } catch { return [error] }
    }
  }
}

/// Modules that were still loaded when a ``ModuleManagerService`` ended.
public struct ModulesLeft: Error, CustomStringConvertible {
  /// Why each of them could not be unloaded.
  public let errors: [ModuleError]

  /// The modules and the reasons, in one line.
  public var description: String {
    "modules left at shutdown: \(errors.map(\.description).joined(separator: "; "))"
  }
}
