extension Departure {
  /// Hooks off their points, names of objects away: no call that starts now comes in.
  package func takeInterfacesDown() {
    unlinkHooks()
    withdrawObjects()
  }

  /// Puts hooks and names back. Returns the names that somebody else took meanwhile; those stay away.
  package func putInterfacesUp() -> [String] {
    linkHooks()
    return republishObjects()
  }

  /// Takes the module's hooks off. A second time does nothing.
  package func unlinkHooks() {
    module.withLinks { links in
      for index in links.hooks.indices {
        if let id = links.hooks[index].id.take() { links.hooks[index].point.unlink(id) }
      }
    }
  }

  /// Puts the hooks that are off back on, behind the gates of the module's scheme.
  package func linkHooks() {
    module.withLinks { links in
      for index in links.hooks.indices where links.hooks[index].id == nil {
        let hook = links.hooks[index]
        links.hooks[index].id = hook.point.link(
          hook.function, closure: hook.closure, gate: module.gate(for: hook.point), priority: hook.priority)
      }
    }
  }

  /// Takes the names of the module's objects away. Nobody opens them from here on; what is open stays open.
  package func withdrawObjects() { manager.withdraw(module) }

  /// Gives the names back that are still free; returns the others.
  package func republishObjects() -> [String] { manager.republish(module) }
}
