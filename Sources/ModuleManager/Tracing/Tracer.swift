internal import Quiescence
internal import Synchronization

/// The switch between what happens and the ring that records it. One a manager.
///
/// Whoever records reads the ring in a section of `Memb`, so that one that was taken away stays until the last writer has left it.
final class Tracer: Sendable {
  private let flag = Atomic<Bool>(false)
  private let ring = RCUBox<TraceRing?, Memb>(nil)
  private let followers = Locked(0)

  /// Of what belongs to no manager.
  static let none = Tracer()

  /// All that tracing costs while nobody follows: one load. Whoever finds it set a moment too late loses an event, or finds no ring.
  @inline(__always)
  var isOn: Bool { flag.load(ordering: .relaxed) }

  /// Returns the ring, from its next event on. The first follower decides how large it is.
  func follow(capacity: Int) -> (ring: TraceRing, cursor: UInt64) {
    followers.withLock { count in
      count += 1
      if count > 1, let ring = ring.read({ copy $0 }) { return (ring, ring.end) }
      let new = TraceRing(capacity: capacity)
      ring.exchange(new)
      // After the ring: whoever sees the flag should find it.
      flag.store(true, ordering: .releasing)
      return (new, 0)
    }
  }

  /// Every follower once. The last one takes the ring away.
  func unfollow() {
    followers.withLock { count in
      count -= 1
      if count > 0 { return }
      flag.store(false, ordering: .relaxed)
      // Destroyed after a grace period: a writer that read the flag before may be inside. Under the lock, or a follower that comes
      // at once would lose its new ring here.
      ring.exchange(nil)
    }
  }

  /// Records a moment.
  @inline(never)
  func record(_ kind: TraceEvent.Kind, module: String, label: String = "", errno: Int32 = 0) {
    ring.read { _ = $0?.write(kind, .moment, module: module, label: label, errno: errno) }
  }

  /// Records a beginning, if anybody follows.
  func begin(_ kind: TraceEvent.Kind, _ module: String) -> TraceSpan {
    var ticket: UInt64?
    if isOn { ticket = ring.read { $0?.write(kind, .begin, module: module, label: "") } }
    return TraceSpan(kind: kind, module: module, start: MonotonicClock.nanoseconds, ticket: ticket)
  }

  /// Records the end. Once.
  func end(_ span: TraceSpan, errno: Int32 = 0, label: @autoclosure () -> String = "") {
    if !isOn { return }
    let label = label()
    let duration = MonotonicClock.nanoseconds - span.start
    ring.read {
      _ = $0?.write(
        span.kind, .end, module: span.module, label: label, errno: errno, duration: duration,
        beginning: span.ticket.map { $0 + 1 } ?? 0)
    }
  }
}

/// Something that has begun.
struct TraceSpan: Sendable {
  let kind: TraceEvent.Kind
  let module: String
  let start: UInt64
  /// Nil when nobody followed then.
  let ticket: UInt64?
}

extension ModuleManager {
  /// Records a beginning now, and the end when `done` is called, as the first thing.
  func traced<Success>(
    _ kind: TraceEvent.Kind, _ module: String, _ done: @escaping Completion<Success>
  ) -> Completion<Success> {
    let span = tracer.begin(kind, module)
    return { [tracer] result in
      switch result {
      case .failure(let error): tracer.end(span, errno: error.errno, label: error.reason)
      case .success(let value): tracer.end(span, label: (value as? UnloadOutcome)?.remark ?? "")
      }
      done(result)
    }
  }
}

extension UnloadOutcome {
  /// What is to be said of a success.
  fileprivate var remark: String {
    switch self {
    case .unloaded: ""
    case .resident(_, let reason): reason
    case .deferred(let holders):
      "goes when these let go: " + holders.map(\.description).joined(separator: ", ")
    }
  }
}
