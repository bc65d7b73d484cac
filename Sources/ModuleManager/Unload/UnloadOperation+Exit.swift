internal import Glibc
internal import Quiescence

extension UnloadOperation {
  /// ``exit()``, then ``finish()``.
  package func leave() {
    if exit() { finish() }
  }

  /// Calls the module's `exit`; after a failed `init` only if the module says that it cleans up then. False when it
  /// refuses: then the module is in ``ModuleState/cleanup``, its interfaces stay down, and the request is answered.
  package func exit() -> Bool {
    if isAfterFailedInit && !module.code.exitsAfterFailedInit { return true }
    let span = manager.tracer.begin(.exit, module.name)
    let result = module.code.callExit()
    manager.tracer.end(span, errno: result < 0 ? -result : result == 0 ? 0 : EINVAL)
    if result == 0 { return true }
    remainInCleanup(
      errno: result < 0 ? -result : EINVAL, "its exit refused; its interfaces are down, unload it again")
    return false
  }

  /// Its interfaces are down, it cannot go yet, and nobody puts it up again: only another unload leads on.
  package func remainInCleanup(errno: Int32, _ reason: String, holders: [ModuleHolder] = []) {
    manager.setState(.cleanup, of: module)
    fail(errno, reason, holders: holders)
  }

  /// Callback barrier, unmap, verify, forget, answer. Nobody is inside the module any more, except who gave a count back in
  /// the module's code a moment ago.
  package func finish() { settle { self.unmap() } }

  /// Calls `next` when what the module's code left behind it has run through.
  package func settle(_ next: @escaping @Sendable () -> Void) {
    // Who brings a count to zero inside the module's code still has to return from it, through that code, inside a
    // section.
    if module.countsItself {
      afterReaders { self.afterCallbacks(next) }
    } else {
      afterCallbacks(next)
    }
  }

  /// Unmap, verify, forget, answer.
  package func unmap() {
    let reason = module.image.flatMap { image in
      let span = manager.tracer.begin(.unmap, module.name)
      let reason = image.close()
      manager.tracer.end(span, label: reason ?? "")
      return reason
    }
    let wasForced = module.withLinks { $0.isForced }
    manager.remember(
      module, reason != nil ? .resident : isAfterFailedInit ? .failed : wasForced ? .forced : .unloaded)
    manager.forget(module)
    if let image = module.image, let reason {
      return answer(.success(.resident(image: image.path, reason: reason)))
    }
    answer(
      .success(
        .unloaded(
          UnloadReport(
            module: module.name, image: module.image?.path, duration: start.duration(to: .now),
            unmapped: module.image != nil))))
  }
}
