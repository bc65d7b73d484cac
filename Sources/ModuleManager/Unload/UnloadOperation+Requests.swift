internal import Glibc
internal import Quiescence

/// Requests that join an operation and leave it, and what leads back.
///
/// On the manager's queue.
extension UnloadOperation {
  /// Whether the module can be made to serve on from where the operation is.
  enum WayBack {
    /// A step is under way, which has an end of its own.
    case none
    /// It waits; this makes the module serve on. False: what it waited for has come meanwhile, and
    /// what comes next is on its way.
    case open(@Sendable () -> Bool)
    /// It waits for users, and nothing leads back.
    case closed
  }

  /// Another request waits for its end.
  func join(_ end: RequestEnd?, _ done: @escaping ModuleManager.Completion<UnloadOutcome>) {
    let waiter = Waiter(done)
    let (ended, reason) = state.withLock { state in
      // One whose end has come, and that waits for the way back, has no reason to wait any longer.
      let ended = state.givenUp == nil ? [] : state.waiters
      defer { state.givenUp = nil }
      state.waiters.removeAll { one in ended.contains { $0 === one } }
      state.waiters.append(waiter)
      return (ended, state.givenUp)
    }
    if let reason { for one in ended { one.done(.failure(error(reason))) } }
    end?.attach { self.leave(waiter, $0) }
  }

  /// Another request waits until the attempt, which does not wait for users, is refused, has ended,
  /// or is certain; then it runs `again`.
  func afterVerdict(
    _ end: RequestEnd?, _ done: @escaping ModuleManager.Completion<UnloadOutcome>,
    _ again: @escaping ModuleQueue.Job
  ) {
    let once = Once()
    state.withLock { $0.afterVerdict.append { if once.take() { again() } } }
    end?.attach { if once.take() { done(.failure(self.error($0))) } }
  }

  /// A request's end has come. With the last of them the operation is given up.
  private func leave(_ waiter: Waiter, _ reason: RequestEnd.Reason) {
    let (isWaiting, isLast, isCertain) = state.withLock { state in
      var isCertain = state.isPromised
      if case .closed = state.wayBack { isCertain = true }
      return (state.waiters.contains { $0 === waiter }, state.waiters.count == 1, isCertain)
    }
    if !isWaiting { return }
    if isLast && !isCertain { return giveUp(reason) }
    state.withLock { state in state.waiters.removeAll { $0 === waiter } }
    waiter.done(
      isCertain ? .success(.deferred(holders: module.holders)) : .failure(error(reason)))
  }

  /// No request waits any longer.
  private func giveUp(_ reason: RequestEnd.Reason) {
    let (back, isStuck) = state.withLock { state in
      state.givenUp = reason
      return (state.wayBack, state.isStuck)
    }
    // Before it goes back: it says what was waited for.
    let error = error(reason)
    switch back {
    // What goes ahead instead ends soon, or is stuck: both come back to this.
    case .open(let goBack): if goBack() { answer(.failure(error)) }
    case .closed: self.defer(module.holders)
    // Otherwise the answer comes with the end of the step, or when that lasts.
    case .none: if isStuck { answerRequests(.failure(error)) }
    }
  }

  /// Gives the operation up for all requests. Nil when the module serves on.
  func cancel(_ reason: RequestEnd.Reason) -> ModuleError? {
    let what = module.activity.map { "\($0)" } ?? "is \(module.currentState)"
    switch state.withLock({ $0.wayBack }) {
    case .open(let goBack):
      let error = error(reason)
      if goBack() {
        answer(.failure(error))
        return nil
      }
      state.withLock { $0.givenUp = reason }
      return ModuleError(module.name, EBUSY, "the unload cannot be given up now: \(what)")
    case .closed:
      let why =
        switch cause {
        case .failedInit: "its init failed"
        case .noTakeover: "it could not take over"
        case .replaced, .replacedAndNotAwaited: "it was replaced"
        case .request: isForced ? "it was forced" : "its stop has run"
        }
      return ModuleError(
        module.name, EBUSY, "nothing leads back, since \(why): \(what)", holders: module.holders)
    case .none:
      return ModuleError(module.name, EBUSY, "the unload cannot be given up now: \(what)")
    }
  }

  /// From here on users are told to go, and nothing leads back.
  func force() {
    let (wasForced, onForce) = state.withLock { state in
      defer {
        state.policy = .force
        if case .open = state.wayBack { state.wayBack = .closed }
        state.onForce = nil
      }
      return (state.policy == .force, state.onForce)
    }
    if wasForced { return }
    if let onForce { onForce() } else { tellUsers() }
  }

  /// What a request is told whose end comes first.
  private func error(_ reason: RequestEnd.Reason) -> ModuleError {
    // The last of them may have released it a moment ago.
    let holders = module.holders
    var words = [reason.text]
    if !holders.isEmpty { words.append("in use: \(holders.joined)") }
    // Beside users, a step that has just begun is no reason.
    if let activity = module.activity, activity.kind != .users,
      holders.isEmpty || state.withLock({ $0.isStuck })
    {
      words.append("\(activity)")
    }
    return ModuleError(module.name, reason.errno, words.joined(separator: ", "), holders: holders)
  }
}

// MARK: - For schemes

extension UnloadOperation {
  /// From here on the wait for users can be given up: `body` makes the module serve on. False: the
  /// last user has released it meanwhile. A forced unload has no way back: its users were told to
  /// go.
  ///
  /// A wait of several stages offers one in each. If the end came between two of them, this is
  /// where it is noticed: else the second stage would last as long as its users like.
  package func offerWayBack(_ body: @escaping @Sendable () -> Bool) {
    if isFinal { return closeWayBack() }
    let givenUp = state.withLock { state in
      state.wayBack = .open(body)
      return state.givenUp
    }
    // As a job: the scheme has not finished what it does here.
    if let givenUp {
      later {
        if self.state.withLock({ $0.givenUp }) != nil { self.giveUp(givenUp) }
      }
    }
  }

  /// It waits for users, and nothing leads back: what waits for the way back is answered.
  package func closeWayBack() {
    let isAsked = state.withLock { state in
      state.wayBack = .closed
      return state.givenUp != nil || state.tellLoader != nil || cause == .replacedAndNotAwaited
    }
    if !isAsked { return }
    // As a job: what it waits for may have come, and then what comes next is queued before this.
    later {
      let isWaiting = self.state.withLock { state in
        if case .closed = state.wayBack { return true }
        return false
      }
      if !isWaiting { return }
      self.tellLoader()
      let holders = self.module.holders
      // Without a holder it is between two stages of the wait, and goes on.
      let isHeld = self.cause == .replacedAndNotAwaited && !holders.isEmpty
      if self.isGivenUp || isHeld { self.defer(holders) }
    }
  }

  /// What forces the wait that begins now, in the place of telling the users alone.
  package func onForce(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onForce = body } }
}

// MARK: - Steps that last

extension UnloadOperation {
  /// What it is inside has not returned for a while, or cannot be told: a request that has ended is
  /// answered now.
  func stuck() {
    let givenUp = state.withLock { state in
      state.isStuck = true
      return state.givenUp
    }
    tellLoader()
    if let givenUp { giveUp(givenUp) }
  }

  /// Answers the load whose `init` has failed: when the module has gone, or when that lasts. Then
  /// the module goes on its way, and that is visible.
  func tellLoader() { state.withLock { $0.tellLoader.take() }?() }

  /// It has come out.
  func isOnItsWay() {
    state.withLock { state in
      state.isStuck = false
      state.wayBack = .none
      state.onForce = nil
    }
  }

  func setWaitOver() {
    isOnItsWay()
    module.setWait(nil)
  }
}
