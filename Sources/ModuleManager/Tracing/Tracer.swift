internal import Quiescence
internal import Synchronization

/// Turns recording on and off, and owns the ring. One per manager.
///
/// A recording thread reads the ring in a section of `Memb`, so a ring that was taken away is
/// destroyed only after its last writer has left.
final class Tracer: Sendable {
  private let flag = Atomic<Bool>(false)
  private let recording = RCUBox<TraceRecording?, Memb>(nil)
  private let state = Locked<(ring: TraceRing?, followers: [TraceFollower])>((nil, []))
  private let memory = TraceMemory()

  /// For modules that belong to no manager.
  static let none = Tracer()

  /// The whole cost of tracing while there is no follower: one load. A thread that sees an outdated
  /// value loses an event, or finds no ring.
  @inline(__always)
  var isOn: Bool { flag.load(ordering: .relaxed) }

  /// Returns the ring, and the number of its next event. The first follower sets the capacity.
  func follow(capacity: Int, _ follower: TraceFollower) -> (ring: TraceRing, cursor: UInt64) {
    state.withLock { state in
      let ring = state.ring ?? TraceRing(capacity: capacity, from: memory)
      // Before the recording: what is recorded for the new follower has at least this number.
      let cursor = ring.end
      state.ring = ring
      state.followers.append(follower)
      recording.exchange(TraceRecording(ring, for: state.followers))
      // After the recording: a thread that sees the flag should find it.
      flag.store(true, ordering: .releasing)
      return (ring, cursor)
    }
  }

  /// Call this once per follower. The last one takes the ring away.
  func unfollow(_ follower: TraceFollower) {
    state.withLock { state in
      state.followers.removeAll { $0 === follower }
      // What is taken away is destroyed after a grace period: a writer may be inside. Under the
      // lock: otherwise a new follower's recording could be taken away here.
      if !state.followers.isEmpty, let ring = state.ring {
        recording.exchange(TraceRecording(ring, for: state.followers))
        return
      }
      flag.store(false, ordering: .relaxed)
      state.ring = nil
      recording.exchange(nil)
    }
  }

  /// Records an event without a duration.
  @inline(never)
  func record(_ kind: TraceEvent.Kind, module: String, label: String = "", errno: Int32 = 0) {
    recording.read { _ = $0?.write(kind, .moment, module: module, label: label, errno: errno) }
  }

  /// Records a beginning, if there is a follower.
  func begin(_ kind: TraceEvent.Kind, _ module: String) -> TraceSpan {
    var ticket: UInt64?
    if isOn { ticket = recording.read { $0?.write(kind, .begin, module: module, label: "") ?? nil } }
    return TraceSpan(kind: kind, module: module, start: MonotonicClock.nanoseconds, ticket: ticket)
  }

  /// Records the end. Call this once per span.
  func end(_ span: TraceSpan, errno: Int32 = 0, label: @autoclosure () -> String = "") {
    if !isOn { return }
    let label = label()
    let duration = MonotonicClock.nanoseconds - span.start
    recording.read {
      _ = $0?.write(
        span.kind, .end, module: span.module, label: label, errno: errno, duration: duration,
        beginning: span.ticket.map { $0 + 1 } ?? 0)
    }
  }
}

/// A span that has begun.
struct TraceSpan: Sendable {
  let kind: TraceEvent.Kind
  let module: String
  let start: UInt64
  /// Nil if no follower wanted the beginning.
  let ticket: UInt64?
}

extension ModuleManager {
  /// Records a beginning now, and the end when `done` is called, before `done` runs.
  func traced<Success>(
    _ kind: TraceEvent.Kind, _ module: String, _ done: @escaping Completion<Success>
  ) -> Completion<Success> {
    let span = tracer.begin(kind, module)
    return { [tracer] result in
      switch result {
      case .failure(let error): tracer.end(span, errno: error.errno, label: error.reason)
      case .success(let value):
        tracer.end(
          span, label: (value as? UnloadOutcome ?? (value as? ModuleReplacement)?.outcome)?.remark ?? "")
      }
      done(result)
    }
  }
}

extension UnloadOutcome {
  /// The label of a successful end.
  fileprivate var remark: String {
    switch self {
    case .unloaded: ""
    case .resident(_, let reason): reason
    case .deferred(let holders):
      "is unloaded when these holders release it: " + holders.map(\.description).joined(separator: ", ")
    }
  }
}
