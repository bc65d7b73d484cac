public import Bigref
internal import Glibc
internal import Quiescence

/// "There's no way of saying 'wake me when you can be unloaded', hence the loop and yield."
///
/// Source: Rusty Russell, 22 September 2002, on what Roman Zippel's interface lacked.
extension ModuleManager {
  /// Waits until a module can be unloaded: it has no users, and no module depends on it, so that an
  /// unload with ``BusyPolicy/fail`` would get past its first look now. It is not one moment longer
  /// true than that: users are not kept out, and a new one may come before this has returned. To
  /// unload the module at that moment, use ``BusyPolicy/whenIdle``.
  ///
  /// A module on its way in or out is waited for. The wait looks again when a reference or a count
  /// is given back, at the end of a dependent, and when the module changes its state; it never
  /// polls. Users that only the module knows of (`usecount`) cause no look: they are asked about at
  /// each of these.
  ///
  /// - Parameters:
  ///   - name: A loaded module.
  ///   - limit: Looks at least once, also when it is zero.
  ///   - cancellation: Ends the wait, with `EINTR`.
  /// - Threads: any, outside sections. Costs the manager's queue a barrier and O(processors ×
  ///   counters) a look; there is one look queued at the most, however many references are given
  ///   back.
  /// - Throws: `ENOENT` no such module, or it has been unloaded meanwhile; `EBUSY` it is permanent;
  ///   `ETIMEDOUT` after `limit`, `EINTR` (in the other form also `ECANCELED`, of the task) when
  ///   the wait was cancelled, and the holders then; `EDEADLK` inside a section, a hook, a retired
  ///   callback, or a module's `init` or `exit`.
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

  private func startWait(_ name: String, _ end: RequestEnd, done: @escaping Completion<Void>) {
    begin(name, end, done: done) {
      guard let module = self.module(named: name) else {
        return done(.failure(Self.notLoaded(name)))
      }
      self.watches.add(
        UseWatch(module, endedBy: end) { error in
          if let error { done(.failure(error)) } else { done(.success(())) }
        })
    }
  }

  static func notLoaded(_ name: String) -> ModuleError {
    ModuleError(name, ENOENT, "no such module is loaded")
  }

  /// ``BusyPolicy/whenIdle``. On the queue.
  ///
  /// The look that finds no user, and an attempt, which gives up when a user has come in between.
  /// Then this waits again, and until a user releases it: what makes the attempt give up is what
  /// the look would see.
  func unloadWhenIdle(_ module: Module, _ end: RequestEnd?, done: @escaping Completion<UnloadOutcome>) {
    let again: ModuleQueue.Job = { self.unloadWhenIdle(module, end, done: done) }
    watches.add(
      UseWatch(module, endedBy: end) { error in
        if let error { return done(.failure(error)) }
        // As a job, since it may last; so others may have been quicker.
        self.queue.run {
          let isIdle =
            module.attempt == nil && (module.currentState == .live || module.currentState == .cleanup)
          if !isIdle { return again() }
          // As a job: the manager's others get their turns.
          self.attempt(UnloadOperation(module, .fail, ifInUse: { self.queue.run(again) }), end, done)
        }
      })
  }
}
