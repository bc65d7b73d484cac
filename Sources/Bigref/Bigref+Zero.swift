package import Quiescence

extension Bigref {
  /// Suspends until the counter is zero. Returns at once if it is. Cancellation of the task does
  /// not end the wait: the caller is about to free the counted object, and must not do so before
  /// zero.
  public func zero() async {
    await suspended { _ = storage.atZero(.task($0)) }
  }

  /// Suspends until the counter is zero, or throws if the task is cancelled first. After it throws,
  /// no release resumes this task.
  public func zeroUnlessCancelled() async throws(CancellationError) {
    let storage = storage
    let wait = CancellableWait()
    let entry = storage.atZero(.call { wait.end(isZero: true) })
    let isZero = await withTaskCancellationHandler {
      await suspended { wait.suspend($0) }
    } onCancel: {
      wait.end(isZero: false)
    }
    if isZero { return }
    if let entry { storage.forget(entry) }
    throw CancellationError()
  }

  /// Blocks until the counter is zero, or for at most `limit`. Returns whether it is zero.
  ///
  /// - Complexity: an allocation for the waiter.
  /// - Threads: any outside `Memb` sections; traps inside one, because a kill may wait for that
  ///   section.
  @available(*, noasync, message: "await zero() instead of blocking the task's thread")
  @discardableResult
  public func waitForZero(atMost limit: Duration? = nil) -> Bool {
    wait(atMost: limit, on: Parker())
  }

  /// Blocks until the counter is zero, until `limit` has passed, or until another thread cancels
  /// the wait.
  ///
  /// Zero takes precedence: if the count reached zero before this call returns, the result is
  /// ``WaitResult/zero``. A wait that ends otherwise is removed from the list of waiters, and
  /// consumes no wakeup of another waiter.
  ///
  /// - Threads: as ``waitForZero(atMost:)``.
  @available(*, noasync, message: "await zeroUnlessCancelled() instead of blocking the task's thread")
  public func waitForZero(
    atMost limit: Duration? = nil, cancelledBy cancellation: WaitCancellation
  ) -> WaitResult {
    let parker = Parker()
    cancellation.add(parker)
    defer { cancellation.remove(parker) }
    if wait(atMost: limit, on: parker, or: { cancellation.isCancelled }) { return .zero }
    return cancellation.isCancelled ? .cancelled : .timedOut
  }

  private func wait(
    atMost limit: Duration?, on parker: Parker, or isCancelled: () -> Bool = { false }
  ) -> Bool {
    if Memb.isInside { Misuse.waitInSection("Bigref.waitForZero()") }
    guard let entry = storage.atZero(.thread(parker)) else { return true }
    if parker.wait(for: limit) && !isCancelled() { return true }
    // Not on the list any more: the count reached zero, whether or not that opened the parker.
    return !storage.forget(entry)
  }
}

extension Bigref {
  /// How ``waitForZero(atMost:cancelledBy:)`` ended.
  public enum WaitResult: Sendable {
    /// The count reached zero.
    case zero
    /// The limit passed before zero.
    case timedOut
    /// The wait was cancelled before zero.
    case cancelled
  }
}

/// Ends blocking waits from another thread.
public final class WaitCancellation: Sendable {
  private struct State {
    var isCancelled = false
    var parkers: [Parker] = []
    /// The closures to call on cancellation, by the numbers that remove them.
    var bodies: [Int: @Sendable () -> Void] = [:]
    var lastNumber = 0
  }

  private let state = Locked(State())

  /// Creates a cancellation that can serve any number of waits.
  public init() {}

  /// Ends every present and future wait that was given this cancellation. Any thread; a second call
  /// has no effect.
  public func cancel() {
    let (parkers, bodies) = state.withLock { state in
      state.isCancelled = true
      defer { state.bodies = [:] }
      return (state.parkers, Array(state.bodies.values))
    }
    for parker in parkers { parker.open() }
    for body in bodies { body() }
  }

  /// Whether ``cancel()`` was called.
  public var isCancelled: Bool { state.withLock { $0.isCancelled } }

  package func add(_ parker: Parker) {
    let isCancelled = state.withLock { state in
      state.parkers.append(parker)
      return state.isCancelled
    }
    if isCancelled { parker.open() }
  }

  package func remove(_ parker: Parker) {
    state.withLock { state in state.parkers.removeAll { $0 === parker } }
  }

  /// Calls `body` once, on cancellation; at once if that has happened. Returns a number for
  /// ``remove(_:)-(Int)``.
  package func add(_ body: @escaping @Sendable () -> Void) -> Int {
    let (number, isCancelled) = state.withLock { state in
      state.lastNumber += 1
      if !state.isCancelled { state.bodies[state.lastNumber] = body }
      return (state.lastNumber, state.isCancelled)
    }
    if isCancelled { body() }
    return number
  }

  package func remove(_ number: Int) {
    state.withLock { $0.bodies[number] = nil }
  }
}

/// A suspended task that is resumed once: by zero or by cancellation, whichever comes first.
private final class CancellableWait: Sendable {
  private let state = Locked(State())

  private struct State {
    var isZero: Bool?
    var continuation: Suspended<Bool>?
  }

  func suspend(_ continuation: Suspended<Bool>) {
    let isZero = state.withLock { state in
      if state.isZero == nil { state.continuation = continuation }
      return state.isZero
    }
    if let isZero { continuation.resume(returning: isZero) }
  }

  func end(isZero: Bool) {
    let continuation = state.withLock { state -> Suspended<Bool>? in
      if state.isZero != nil { return nil }
      state.isZero = isZero
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: isZero)
  }
}
