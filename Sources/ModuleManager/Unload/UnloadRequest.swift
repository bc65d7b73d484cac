internal import Glibc
internal import Quiescence

/// An unload that was asked for without waiting for it: perhaps inside the module.
///
/// ```swift
/// let manager = ModuleManager()
/// let request = manager.unloadLater("counter")
/// print(try await request.outcome)
/// ```
///
/// It goes on when this is dropped.
///
/// Source: Linux `module_put_and_kthread_exit`, for modules that end themselves.
public final class UnloadRequest: Sendable {
  private let manager: ModuleManager
  private let module: String
  private let end: RequestEnd
  private let state = Primitive.Guarded(State())

  private struct State {
    var result: Result<UnloadOutcome, ModuleError>?
    var waiting: [ModuleManager.Completion<UnloadOutcome>] = []
  }

  /// Asks for the unload of that load of a module.
  init(of module: Module, _ policy: BusyPolicy?) {
    manager = module.manager
    self.module = module.name
    end = RequestEnd(module.manager.queue)
    let error = manager.startUnload(of: module, policy, end) { self.answer($0) }
    if error != 0 { answer(.failure(ModuleError(module.name, error, "no thread for the module manager"))) }
  }

  /// Of a module that there is not.
  init(notLoaded name: String, _ manager: ModuleManager) {
    self.manager = manager
    module = name
    end = RequestEnd(manager.queue)
    answer(.failure(ModuleManager.notLoaded(name)))
  }

  /// The first answer counts.
  private func answer(_ result: Result<UnloadOutcome, ModuleError>) {
    end.isAnswered()
    let waiting = state.withLock { state in
      state.result = state.result ?? result
      defer { state.waiting = [] }
      return state.waiting
    }
    for done in waiting { done(result) }
  }

  /// How it ended; nil before that. Any thread, also inside sections.
  public var result: Result<UnloadOutcome, ModuleError>? { state.withLock { $0.result } }

  /// Suspends until it has ended. The end of the task ends this wait, and not the unload:
  /// ``cancel()`` does that.
  ///
  /// Throws as `ModuleManager.unload(_:ifBusy:within:cancelledBy:)`; also `EDEADLK`, where
  /// it would wait for itself.
  public var outcome: UnloadOutcome {
    get async throws(ModuleError) { try await manager.suspend(module) { self.whenEnded($0, $1) } }
  }

  /// Blocks until it has ended; as ``outcome``.
  @available(*, noasync, message: "await outcome instead of blocking the task's thread")
  public func wait() throws(ModuleError) -> UnloadOutcome { try manager.block(module) { whenEnded($0, $1) } }

  /// Ends a wait for users, with `ECANCELED`, as `cancelledBy:` of an unload does. Any thread, also
  /// inside sections.
  public func cancel() { end.request(ECANCELED, "the request was cancelled") }

  private func whenEnded(
    _ end: RequestEnd, _ done: @escaping ModuleManager.Completion<UnloadOutcome>
  ) {
    end.attach { done(.failure(ModuleError(self.module, $0.errno, $0.text))) }
    let result = state.withLock { state in
      if state.result == nil { state.waiting.append(done) }
      return state.result
    }
    if let result { done(result) }
  }
}

extension ModuleManager {
  /// Asks for an unload, and returns at once: also inside a section, a hook, a retired callback,
  /// and a module's `init` or `exit`, where `unload(_:ifBusy:within:cancelledBy:)` would
  /// wait for itself.
  ///
  /// The manager does it in its turn, as that one would; and so it waits for calls that are inside
  /// the module, the caller's among them. The caller goes on in mapped code, however long it takes.
  /// Asked for in `init` it comes right after that; in `exit`, again if that refuses.
  ///
  /// - Parameters:
  ///   - name: A loaded module.
  ///   - policy: Nil: the module's own. With ``BusyPolicy/fail`` the caller itself may be the user
  ///     that it fails for, with schemes that count calls.
  /// - Returns: Where its end can be awaited, elsewhere. It is about the module that is loaded now:
  ///   if that has gone before its turn comes, it ends with `ENOENT`, though another one of the
  ///   name may be there.
  /// - Complexity: A lock, and a few allocations.
  @discardableResult
  public func unloadLater(_ name: String, ifBusy policy: BusyPolicy? = .wait) -> UnloadRequest {
    guard let module = module(named: name) else { return UnloadRequest(notLoaded: name, self) }
    return UnloadRequest(of: module, policy)
  }

  /// Unloads this load of a module, and no other, in its turn. Returns 0 or an errno; then `done`
  /// is not called.
  func startUnload(
    of module: Module, _ policy: BusyPolicy?, _ end: RequestEnd, done: @escaping Completion<UnloadOutcome>
  ) -> Int32 {
    let isInsideExit = module.isInsideExit
    return end.begin {
      let once = Once()
      let job: ModuleQueue.Job = { if once.take() { self.unload(module, policy, end, done) } }
      // A thread that has asked in the module's `init` or `exit` may have lost the turn: then the
      // unload begins when that returns. A request from elsewhere, while `exit` is under way, joins
      // the unload.
      let isInside = module.withLinks { links in
        let kind = links.calls.current?.kind
        if kind != .initialize && !(kind == .exit && isInsideExit) { return false }
        links.calls.afterwards.append(job)
        return true
      }
      if !isInside { return job() }
      end.attach { reason in
        if once.take() { done(.failure(ModuleError(module.name, reason.errno, reason.text))) }
      }
    }
  }

  private func unload(
    _ module: Module, _ policy: BusyPolicy?, _ end: RequestEnd, _ done: @escaping Completion<UnloadOutcome>
  ) {
    if self.module(named: module.name) !== module {
      return done(.failure(module.lostError))
    }
    unload(module.name, policy, end, done) { self.unload(module, policy, end, done) }
  }
}
