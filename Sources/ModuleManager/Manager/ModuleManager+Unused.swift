public import Bigref
internal import Glibc
internal import Quiescence

/// "There's no way of saying 'wake me when you can be unloaded', hence the loop and yield."
///
/// Source: Rusty Russell, 22 September 2002, on what Roman Zippel's interface lacked.
extension ModuleManager {
  /// Waits until a module can be unloaded: nobody holds it, and no module depends on it, so that an unload with
  /// ``BusyPolicy/fail`` would get past its first look now. It is not one moment longer true than that: nobody is kept out, and
  /// a new user may come before this has returned. Whoever wants the module gone at that moment asks for ``BusyPolicy/whenIdle``.
  ///
  /// A module on its way in or out is waited for. It is woken by whoever gives a reference or a count back, by the end of a dependent,
  /// and by the module's own changes of state; it never polls. Users that only the module knows of (`usecount`) wake
  /// nobody: they are asked about at each of these.
  ///
  /// - Parameter limit: Looks at least once, also when it is zero.
  /// - Threads: any, outside sections. Costs the manager's thread a barrier and O(processors × counters) a look; there is one look
  ///   queued at the most, however many references are given back.
  /// - Throws: `ENOENT` no such module, or it has been unloaded meanwhile; `EBUSY` it is permanent; `ETIMEDOUT` after `limit`, `EINTR`
  ///   (in the other form also `ECANCELED`, of the task) when the wait was cancelled, and who held it then; `EDEADLK` inside a section,
  ///   a hook, a retired callback, or a module's `init` or `exit`.
  @available(*, noasync, message: "await waitUntilUnused(_:) instead of blocking the task's thread")
  public func waitUntilUnused(
    _ name: String, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) throws(ModuleError) {
    try block(name, within: limit, cancelledBy: cancellation) { self.startWait(name, $0, done: $1) }
  }

  /// Waits until a module can be unloaded; see the blocking form.
  public func waitUntilUnused(
    _ name: String, within limit: Duration? = nil, cancelledBy cancellation: WaitCancellation? = nil
  ) async throws(ModuleError) {
    try await suspend(name, within: limit, cancelledBy: cancellation) { self.startWait(name, $0, done: $1) }
  }

  private func startWait(_ name: String, _ end: EarlyEnd, done: @escaping Completion<Void>) {
    run(name, done: done) {
      guard let module = self.withState({ $0.modules[name] }) else {
        return done(.failure(Self.notLoaded(name)))
      }
      self.noticeEnd(end)
      self.watches.add(
        UseWatch(module, endedBy: end) { error in
          if let error { done(.failure(error)) } else { done(.success(())) }
        })
    }
  }

  static func notLoaded(_ name: String) -> ModuleError {
    ModuleError(name, ENOENT, "no such module is loaded")
  }

  /// Looks when `end` comes: else it would be noticed at the next put.
  func noticeEnd(_ end: EarlyEnd) {
    let watches = watches
    _ = end.cancellation.add { watches.queueLook() }
  }

  /// ``BusyPolicy/whenIdle``. On the manager's thread.
  ///
  /// The look that finds nobody, and an attempt, which gives up when somebody has come in between. Then this waits again, and until
  /// somebody lets go: what makes the attempt give up is what the look would see.
  func unloadWhenIdle(_ module: Module, _ end: EarlyEnd, done: @escaping Completion<UnloadOutcome>) {
    let attempt: @Sendable () -> Void = {
      let operation = UnloadOperation(
        module, .fail, cancelledBy: end.cancellation,
        // As a job: the manager's others get their turns.
        ifInUse: { _ = self.thread.run { self.unloadWhenIdle(module, end, done: done) } }, done)
      // One in cleanup has no interfaces to put up again.
      let isCleanup = module.currentState == .cleanup
      if isCleanup { module.scheme.retry(operation) } else { module.scheme.unload(operation) }
    }
    watches.add(
      UseWatch(module, endedBy: end) { error in
        if let error { done(.failure(error)) } else { attempt() }
      })
  }
}
