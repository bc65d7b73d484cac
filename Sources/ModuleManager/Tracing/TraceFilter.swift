internal import ModuleFiles
internal import Synchronization

/// Which events a follower of a manager wants. An event has to fit every part that is given.
///
/// ```swift
/// let manager = ModuleManager()
/// let slow = TraceFilter(kinds: [.readers, .callbacks], atLeast: .milliseconds(10))
/// let trace = manager.trace(where: slow)
/// let steps = TraceFilter(kinds: TraceEvent.Kind.all.subtracting([.get, .put]))
/// print(trace.read().events.count, trace.leftOut, manager.trace(where: steps).capacity)
/// ```
///
/// Threads look at it before they record: what no follower wants takes no place from what is
/// wanted. It costs such a thread a few hash lookups, and saves it the writing.
public struct TraceFilter: Hashable, Sendable {
  /// Events of modules, or requests, of these names alone; `-` and `_` are the same. Nil: of all.
  public var modules: Set<String>?
  /// Events of these kinds alone. Nil: of all.
  public var kinds: Set<TraceEvent.Kind>?
  /// Ends of spans that took at least so long alone: no beginnings, and nothing without a duration.
  /// Nil: everything.
  public var minimumDuration: Duration?

  /// Creates a filter; without arguments, one that every event fits.
  public init(
    modules: Set<String>? = nil, kinds: Set<TraceEvent.Kind>? = nil, atLeast minimumDuration: Duration? = nil
  ) {
    self.modules = modules
    self.kinds = kinds
    self.minimumDuration = minimumDuration
  }
}

/// A follower, as the threads that record see it.
final class TraceFollower: Sendable {
  private let keys: Set<String>?
  private let kinds: Set<TraceEvent.Kind>?
  private let least: Duration?
  private let count = Atomic<Int>(0)

  init(_ filter: TraceFilter) {
    keys = filter.modules.map { Set($0.map(ModuleName.key)) }
    kinds = filter.kinds
    least = filter.minimumDuration
  }

  /// How many events did not fit.
  var leftOut: Int { count.load(ordering: .relaxed) }

  /// Whether an event fits that is about to be recorded. Counts it if it does not.
  func admits(_ kind: TraceEvent.Kind, _ module: String, _ duration: Duration?) -> Bool {
    if fits(kind, module, duration) { return true }
    count.add(1, ordering: .relaxed)
    return false
  }

  /// Whether a recorded event fits: the ring also has those that only other followers want.
  func fits(_ event: TraceEvent) -> Bool { fits(event.kind, event.module, event.duration) }

  private func fits(_ kind: TraceEvent.Kind, _ module: String, _ duration: Duration?) -> Bool {
    if let kinds, !kinds.contains(kind) { return false }
    if let keys, !keys.contains(ModuleName.key(module)) { return false }
    if let least { return duration.map { $0 >= least } ?? false }
    return true
  }
}

/// What threads record into, and the followers that read it. Each follower that comes or goes
/// replaces the whole value.
final class TraceRecording: Sendable {
  let ring: TraceRing
  let followers: [TraceFollower]

  init(_ ring: TraceRing, for followers: [TraceFollower]) {
    self.ring = ring
    self.followers = followers
  }

  /// Nil when no follower wants it.
  func write(
    _ kind: TraceEvent.Kind, _ phase: TraceEvent.Phase, module: String, label: String, errno: Int32 = 0,
    duration: UInt64? = nil, beginning: UInt64 = 0
  ) -> UInt64? {
    let length = duration.map { Duration.nanoseconds(Int64(clamping: $0)) }
    var isWanted = false
    // Each of them: they count what they leave out.
    for follower in followers where follower.admits(kind, module, length) { isWanted = true }
    if !isWanted { return nil }
    return ring.write(
      kind, phase, module: module, label: label, errno: errno, duration: duration ?? 0, beginning: beginning)
  }
}
