import ControlProtocol
import Foundation
import ModuleManager

extension HostService {
  /// Through the manager.
  public func trace(capacity: Int) -> any ControlTrace { HostTrace(manager.trace(capacity: capacity)) }
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
      now: UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec), process: getpid())
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
