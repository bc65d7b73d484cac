import ControlProtocol
import Foundation
import ModuleManager

extension HostService {
  /// Through the manager.
  public func trace(capacity: Int, _ filter: TraceFilterRow) throws(ControlError) -> any ControlTrace {
    HostTrace(manager.trace(capacity: capacity, where: try TraceFilter(filter)))
  }
}

extension TraceFilter {
  /// - Throws: `EINVAL` for a kind that there is not, with those that there are.
  fileprivate init(_ row: TraceFilterRow) throws(ControlError) {
    let all = Dictionary(uniqueKeysWithValues: TraceEvent.Kind.all.map { ($0.description, $0) })
    var kinds: Set<TraceEvent.Kind>?
    for name in row.kinds ?? [] {
      guard let kind = all[name] else {
        throw ControlError(
          EINVAL,
          "'\(name.prefix(40))' is no kind of event; there are \(all.keys.sorted().joined(separator: ", "))")
      }
      kinds = (kinds ?? []).union([kind])
    }
    self.init(
      modules: row.modules.map(Set.init), kinds: kinds, atLeast: row.seconds.map { .seconds($0) })
  }
}

/// A follower of the manager's trace, which knows the threads by name.
private final class HostTrace: ControlTrace {
  private let trace: ModuleTrace
  /// As they were called when they were first seen: afterwards they may be gone.
  private var names: [Int32: String?] = [:]

  init(_ trace: ModuleTrace) { self.trace = trace }

  func read(upTo limit: Int) -> TraceReply {
    let (events, lost) = trace.read(upTo: limit)
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return TraceReply(
      events: events.map { TraceRow($0, threadName: name(of: $0.thread)) }, lost: lost,
      leftOut: trace.leftOut, now: UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec), process: getpid()
    )
  }

  func stop() { trace.stop() }

  private func name(of thread: Int32) -> String? {
    if let name = names[thread] { return name }
    let line = try? String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8)
    let name = line.map { String($0.prefix { $0 != "\n" }) }
    names[thread] = .some(name)
    return name
  }
}
