internal import ModuleFiles

/// Modules by their names, in which `-` and `_` are equal.
struct ModulesByName: Sendable {
  private var modules: [String: Module] = [:]

  subscript(name: String) -> Module? {
    get { modules[ModuleName.key(name)] }
    set { modules[ModuleName.key(name)] = newValue }
  }

  /// In no order.
  var values: some Sequence<Module> { modules.values }
}
