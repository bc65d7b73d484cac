internal import Quiescence

/// Departures that begin together: what each of them waits for, they wait for once.
///
/// A step that waits for readers or for callbacks leaves here what comes after it. When every departure of the group has come to
/// such a step, has been answered, or waits for its users, there is one wait for all of them. One that goes on later, because its
/// last user was late, waits alone.
///
/// Each is as safe as alone: a grace period that begins after the last of them has unlinked its hooks begins after each has.
///
/// All of this is on the manager's thread.
final class DepartureGroup: Sendable {
  typealias Job = @Sendable () -> Void

  private struct State {
    var isGathering = false
    var jobs: [Job] = []
    var readers: [(departure: Departure, next: Job)] = []
    var callbacks: [(departure: Departure, next: Job)] = []
  }

  private let state = Primitive.Guarded(State())

  /// Runs what begins the departures, and then everything that they leave here.
  func run(_ beginnings: [Job]) {
    state.withLock { $0.isGathering = true }
    for begin in beginnings { begin() }
    while goOn() {}
    state.withLock { $0.isGathering = false }
  }

  /// False when nothing is left.
  private func goOn() -> Bool {
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
      Departure.waitForReaders(of: readers.map(\.departure))
      for (_, next) in readers { next() }
      return true
    }
    let callbacks = state.withLock { state in
      defer { state.callbacks = [] }
      return state.callbacks
    }
    Departure.runCallbacks(of: callbacks.map(\.departure))
    for (_, next) in callbacks { next() }
    return !callbacks.isEmpty
  }
}

// MARK: - What departures leave here

extension DepartureGroup {
  /// False when the group does not gather any more: then the departure goes on alone.
  func later(_ job: @escaping Job) -> Bool { add { $0.jobs.append(job) } }

  /// As ``later(_:)``.
  func afterReaders(_ departure: Departure, _ next: @escaping Job) -> Bool {
    add { $0.readers.append((departure, next)) }
  }

  /// As ``later(_:)``.
  func afterCallbacks(_ departure: Departure, _ next: @escaping Job) -> Bool {
    add { $0.callbacks.append((departure, next)) }
  }

  private func add(_ change: (inout State) -> Void) -> Bool {
    state.withLock { state in
      if state.isGathering { change(&state) }
      return state.isGathering
    }
  }
}
