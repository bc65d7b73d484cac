package import Quiescence

extension Bigref {
  /// Suspends until the counter is zero. Returns at once when it is. Goes on waiting when the task is cancelled: who
  /// waits for zero to free what is counted must not be let through before.
  public func zero() async {
    await suspended { _ = storage.atZero(.task($0)) }
  }

  /// Suspends until the counter is zero. Throws when the task is cancelled first; then nothing is left behind that a late
  /// release could wake.
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
  /// - Threads: not inside a section, where it could wait for itself: traps. One waiter costs an allocation.
  @available(*, noasync, message: "await zero() instead of blocking the task's thread")
  @discardableResult
  public func waitForZero(atMost limit: Duration? = nil) -> Bool {
    wait(atMost: limit, on: Parker())
  }

  /// Blocks until the counter is zero, for at most `limit`, or until another thread cancels the wait.
  ///
  /// Zero wins: whenever the count reached zero before this returns, it says so. A wait that ended otherwise leaves
  /// nothing behind, and takes no wakeup from others.
  ///
  /// - Threads: as ``waitForZero(atMost:)``.
  @available(*, noasync, message: "await zeroUnlessCancelled() instead of blocking the task's thread")
  public func waitForZero(
    atMost limit: Duration? = nil, cancelledBy cancellation: WaitCancellation
  ) -> ZeroWait {
    let parker = Parker()
    cancellation.add(parker)
    defer { cancellation.remove(parker) }
    if wait(atMost: limit, on: parker, or: { cancellation.isCancelled }) { return .zero }
    return cancellation.isCancelled ? .cancelled : .timedOut
  }

  private func wait(
    atMost limit: Duration?, on parker: Parker, or isCancelled: () -> Bool = { false }
  ) -> Bool {
    if Memb.isInside { Misuse.waitInSection("waitForZero()", "Bigref in a Memb section: Memb") }
    guard let entry = storage.atZero(.thread(parker)) else { return true }
    if parker.wait(for: limit) && !isCancelled() { return true }
    // Not on the list any more: zero came, whatever opened the parker first.
    return !storage.forget(entry)
  }
}

/// How ``Bigref/waitForZero(atMost:cancelledBy:)`` ended.
public enum ZeroWait: Sendable {
  /// The count reached zero.
  case zero
  /// The limit was over first.
  case timedOut
  /// The wait was cancelled first.
  case cancelled
}

/// Ends blocking waits from another thread.
public final class WaitCancellation: Sendable {
  private struct State {
    var isCancelled = false
    var parkers: [Parker] = []
    /// Each under the number by which it is taken off again.
    var bodies: [Int: @Sendable () -> Void] = [:]
    var lastNumber = 0
  }

  private let state = Locked(State())

  /// Makes one that has not been cancelled. It serves any number of waits.
  public init() {}

  /// Ends every present and future wait that was given this. Any thread; the second call does nothing.
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

  /// Calls `body` once when it is cancelled, or now. Returns what to ``remove(_:)-(Int)``.
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

/// One suspended task that zero or a cancellation resumes, whichever is first.
private final class CancellableWait: Sendable {
  private let state = Locked(State())

  private struct State {
    var isZero: Bool?
    var continuation: UnsafeContinuation<Bool, Never>?
  }

  func suspend(_ continuation: UnsafeContinuation<Bool, Never>) {
    let isZero = state.withLock { state in
      if state.isZero == nil { state.continuation = continuation }
      return state.isZero
    }
    if let isZero { continuation.resume(returning: isZero) }
  }

  func end(isZero: Bool) {
    let continuation = state.withLock { state -> UnsafeContinuation<Bool, Never>? in
      if state.isZero != nil { return nil }
      state.isZero = isZero
      defer { state.continuation = nil }
      return state.continuation
    }
    continuation?.resume(returning: isZero)
  }
}
