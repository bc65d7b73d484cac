internal import Glibc
public import ModuleFiles

/// Rules for modules from the operator of the host.
public typealias ModuleConfiguration = ModuleFiles.ModuleConfiguration

extension ModuleManager {
  /// From here on requests follow `configuration`. Those that are under way may follow the old one.
  public func configure(_ configuration: ModuleConfiguration) {
    withState { $0.configuration = configuration }
  }

  /// What requests follow now.
  public var configuration: ModuleConfiguration { withState { $0.configuration } }

  /// Throws `EPERM` when the configuration forbids to load one of them.
  func checkRules(_ order: [ModuleIndex.Entry], required: Set<String>) throws(ModuleError) {
    let configuration = configuration
    for entry in order where !configuration[entry.name].mayBeLoaded && required.contains(entry.name) {
      if liveModule(entry.name) == nil { throw Self.forbidden(entry.name, "load") }
    }
  }

  static func forbidden(_ name: String, _ what: String) -> ModuleError {
    ModuleError(name, EPERM, "the configuration forbids to \(what) it")
  }
}
