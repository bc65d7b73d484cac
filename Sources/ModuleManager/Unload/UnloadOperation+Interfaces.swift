extension UnloadOperation {
  /// Hooks off their points, names of objects away: no call that starts now comes in.
  package func unregisterInterfaces() {
    unlinkHooks()
    withdrawObjects()
  }

  /// Puts hooks and names back. Returns the names that other modules took meanwhile; those stay
  /// away.
  package func reregisterInterfaces() -> [String] {
    linkHooks()
    return republishObjects()
  }

  /// Takes the module's hooks off. A second time does nothing.
  package func unlinkHooks() {
    module.linking.withLock { _ in
      for (point, id) in module.takeLinkedHooks() { point.unlink(id) }
    }
  }

  /// Puts the hooks that are off back on, in their old places, behind the gates of the module's
  /// scheme.
  package func linkHooks() {
    module.linking.withLock { _ in
      for (index, hook) in module.withLinks({ $0.hooks }).enumerated() where !hook.isLinked {
        let id = hook.point.link(
          hook.function, closure: hook.closure, gate: module.gate(for: hook.point), priority: hook.priority,
          as: hook.id)
        module.withLinks { links in
          links.hooks[index].id = id
          links.hooks[index].isLinked = true
        }
      }
    }
  }

  /// Takes the names of the module's objects away. They cannot be opened from here on; what is open
  /// stays open.
  package func withdrawObjects() { manager.withdraw(module) }

  /// Gives the names back that are still free; returns the others.
  package func republishObjects() -> [String] { manager.republish(module) }
}

extension Module {
  /// The hooks that are on points. The record has them as taken off from here on. Under `linking`.
  func takeLinkedHooks() -> [(point: any AnyHookPoint, id: UInt64)] {
    withLinks { links in
      links.hooks.indices.compactMap { index in
        guard links.hooks[index].isLinked, let id = links.hooks[index].id else { return nil }
        links.hooks[index].isLinked = false
        return (links.hooks[index].point, id)
      }
    }
  }
}
