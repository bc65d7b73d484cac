internal import Glibc
internal import Quiescence

extension UnloadOperation {
  /// ``endServices(_:)``, ``exit(_:)``, then ``finish()``.
  package func leave() { endServices { self.exit { if $0 { self.finish() } } } }

  /// Ends the module's workers, timers and deferred calls, and calls `next` when all have returned.
  /// The last user has gone: nothing leads back.
  private func endServices(_ next: @escaping @Sendable () -> Void) {
    isOnItsWay()
    if !module.services.end({ self.advance(next) }) { return next() }
    module.setWait(.services)
    // It is not known when they return.
    stuck()
  }

  /// Calls the module's `exit`; after a failed `init` only if the module says that it cleans up
  /// then. `next` is told whether it is out. When it refuses, the module is in
  /// ``ModuleState/cleanup``, its interfaces stay down, and the request is answered.
  package func exit(_ next: @escaping @Sendable (_ isOut: Bool) -> Void) {
    module.leaveState()
    if isAfterFailedInit && !module.code.exitsAfterFailedInit { return next(true) }
    let span = manager.tracer.begin(.exit, module.name)
    call(.exit) {
      $0.callExit()
    } then: { [self] result in
      manager.tracer.end(span, errno: result < 0 ? -result : result == 0 ? 0 : EINVAL)
      if result != 0 {
        let what = result < 0 ? "refused" : "returned \(result), neither 0 nor a negative errno"
        remainInCleanup(
          errno: result < 0 ? -result : EINVAL, "its exit \(what); its interfaces are down, unload it again")
      }
      next(result == 0)
    }
  }

  /// Calls a function of the module, and then `next`.
  func call<Result: Sendable>(
    _ kind: ModuleActivity.Kind, _ body: @escaping @Sendable (any ModuleCode) -> Result,
    then next: @escaping @Sendable (Result) -> Void
  ) {
    // Nothing leads back from here, unless what comes next waits.
    isOnItsWay()
    module.call(kind, onHandOver: stuck) { [code = module.code] in
      body(code)
    } then: { [self] result in
      isOnItsWay()
      next(result)
    }
  }

  /// Its interfaces are down, it cannot go yet, and nothing puts it up again: only another unload
  /// leads on.
  package func remainInCleanup(errno: Int32, _ reason: String, holders: [ModuleHolder] = []) {
    setWaitOver()
    manager.setState(.cleanup, of: module, because: StateReason(reason, errno))
    fail(errno, reason, holders: holders)
  }

  /// Callback barrier, unmap, verify, forget, answer. No call is inside the module any more, except
  /// one that gave a count back in the module's code a moment ago.
  package func finish() { settle { self.unmap() } }

  /// Calls `next` when what the module's code left behind it has run through.
  package func settle(_ next: @escaping @Sendable () -> Void) {
    // A thread that brings a count to zero inside the module's code still has to return from it,
    // through that code, inside a section.
    if module.countsItself {
      afterReaders { self.afterCallbacks(next) }
    } else {
      afterCallbacks(next)
    }
  }

  /// Unmap, verify, forget, answer.
  package func unmap() {
    guard let image = module.image else { return forget(nil) }
    let span = manager.tracer.begin(.unmap, module.name)
    call(.unmap) { _ in
      image.close()
    } then: { [self] reason in
      manager.tracer.end(span, label: reason ?? "")
      forget(reason)
    }
  }

  private var end: UnloadedModule.End {
    if startError != nil { return .failed }
    let links = module.withLinks { $0 }
    return links.isForced ? .forced : links.isReplaced ? .replaced : .unloaded
  }

  private func forget(_ reason: String?) {
    if reason != nil { module.keepMemory() }
    manager.remember(module, reason != nil ? .resident : end)
    manager.forget(module, because: reason.map { StateReason("its image stays mapped: \($0)") }) { [self] in
      if let image = module.image, let reason {
        return answer(.success(.resident(image: image.path, reason: reason)))
      }
      answer(
        .success(
          .unloaded(
            UnloadReport(
              module: module.name, image: module.path, duration: start.duration(to: .now),
              unmapped: module.image != nil))))
    }
  }
}
