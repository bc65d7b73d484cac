internal import Quiescence

/// Unload operations that begin together: what each of them waits for, they wait for once.
///
/// A step that waits for readers or for callbacks leaves here what comes after it. When every operation of the group has come to
/// such a step, has been answered, or waits for its users, there is one wait for all of them. One that goes on later, because its
/// last user was late, waits alone.
///
/// Each is as safe as alone: a grace period that begins after the last of them has unlinked its hooks begins after each has.
///
/// All of this is on the manager's thread.
final class UnloadGroup: Sendable {
  typealias Job = @Sendable () -> Void

  private struct State {
    var isGathering = false
    var jobs: [Job] = []
    var readers: [(operation: UnloadOperation, next: Job)] = []
    var callbacks: [(operation: UnloadOperation, next: Job)] = []
  }

  private let state = Primitive.Guarded(State())

  /// Runs what begins the operations, and then everything that they leave here.
  func run(_ beginnings: [Job]) {
    state.withLock { $0.isGathering = true }
    for begin in beginnings { begin() }
    while advance() {}
    state.withLock { $0.isGathering = false }
  }

  /// False when nothing is left.
  private func advance() -> Bool {
    let jobs = state.withLock { state in
      defer { state.jobs = [] }
      return state.jobs
    }
    if !jobs.isEmpty {
      for job in jobs { job() }
      return true
    }
    // Before callbacks: who waits for readers now may wait for callbacks next, with the others.
    let readers = state.withLock { state in
      defer { state.readers = [] }
      return state.readers
    }
    if !readers.isEmpty {
      UnloadOperation.waitForReaders(of: readers.map(\.operation))
      for (_, next) in readers { next() }
      return true
    }
    let callbacks = state.withLock { state in
      defer { state.callbacks = [] }
      return state.callbacks
    }
    UnloadOperation.runCallbacks(of: callbacks.map(\.operation))
    for (_, next) in callbacks { next() }
    return !callbacks.isEmpty
  }
}

// MARK: - What operations leave here

extension UnloadGroup {
  /// False when the group does not gather any more: then the operation goes on alone.
  func later(_ job: @escaping Job) -> Bool { add { $0.jobs.append(job) } }

  /// As ``later(_:)``.
  func afterReaders(_ operation: UnloadOperation, _ next: @escaping Job) -> Bool {
    add { $0.readers.append((operation, next)) }
  }

  /// As ``later(_:)``.
  func afterCallbacks(_ operation: UnloadOperation, _ next: @escaping Job) -> Bool {
    add { $0.callbacks.append((operation, next)) }
  }

  private func add(_ change: (inout State) -> Void) -> Bool {
    state.withLock { state in
      if state.isGathering { change(&state) }
      return state.isGathering
    }
  }
}
