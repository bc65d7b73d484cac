internal import Glibc
internal import Quiescence

/// The end of a request before its answer: its limit, its cancellation, or the client that has
/// gone. One mechanism for every verb.
///
/// The end of a request is a job that runs before all that are queued, and calls what the request's
/// server has attached last. That answers, or leads back: it does not wait for what the manager is
/// doing, since no job of the queue lasts.
final class RequestEnd: Sendable {
  struct Reason: Sendable {
    let errno: Int32
    let text: String
  }

  private struct State {
    var reason: Reason?
    var begin: ModuleQueue.Job?
    var handler: (@Sendable (Reason) -> Void)?
    var isAnswered = false
  }

  private let queue: ModuleQueue
  private let state = Primitive.Guarded(State())

  init(_ queue: ModuleQueue) { self.queue = queue }

  /// Nil while the request may go on.
  var reason: Reason? { state.withLock { $0.reason } }

  /// Ends it. Any thread. The first reason counts.
  func request(_ errno: Int32, _ text: String) {
    let isFirst = state.withLock { state in
      if state.reason != nil { return false }
      state.reason = Reason(errno: errno, text: text)
      return true
    }
    if isFirst { queue.runUrgently { self.notice() } }
  }

  /// Queues the beginning of the request. Returns 0 or an errno. An end that comes first begins it,
  /// so that a request whose limit is zero has looked once.
  func begin(_ job: @escaping ModuleQueue.Job) -> Int32 {
    let once = Once()
    let begin: ModuleQueue.Job = {
      if !once.take() { return }
      self.state.withLock { $0.begin = nil }
      job()
    }
    state.withLock { $0.begin = begin }
    return queue.run(begin)
  }

  /// What the end does from here on; on the queue, perhaps more than once.
  func attach(_ handler: @escaping @Sendable (Reason) -> Void) {
    let reason: Reason? = state.withLock { state in
      if state.isAnswered { return nil }
      state.handler = handler
      return state.reason
    }
    // As a job: the caller has not finished what it does here.
    if let reason { queue.run { handler(reason) } }
  }

  /// The request was answered: nothing that it has attached is called, or kept, from here on.
  func isAnswered() {
    // Released outside of the lock.
    let handler = state.withLock { state in
      state.isAnswered = true
      return state.handler.take()
    }
    withExtendedLifetime(handler) {}
  }

  private func notice() {
    state.withLock { $0.begin.take() }?()
    let (reason, handler) = state.withLock { ($0.reason, $0.handler) }
    if let reason { handler?(reason) }
  }
}

/// Something that happens once, whichever of several threads comes to it first.
final class Once: Sendable {
  private let isTaken = Primitive.Flag(false)

  /// True for the first.
  func take() -> Bool { !isTaken.exchange(true, ordering: .acquiringAndReleasing) }

  var isOver: Bool { isTaken.load(ordering: .acquiring) }
}
