import Glibc
import NIOCore
import NIOPosix
import Quiescence
import QuiescenceNIO
import Synchronization
import Testing

/// Runs `body` with a quiescent group, and shuts the group down.
func withGroup(
  _ count: Int, _ delegate: (any NIOEventLoopMetricsDelegate)? = nil,
  _ body: (MultiThreadedEventLoopGroup) async throws -> Void
) async throws {
  let group = MultiThreadedEventLoopGroup.quiescent(numberOfThreads: count, metricsDelegate: delegate)
  do { try await body(group) } catch {
    try await group.shutdownGracefully()
    throw error
  }
  try await group.shutdownGracefully()
}

/// Whether a grace period ends. A wait that never ends would say nothing about why.
func elapses<F: Flavor>(_ gracePeriod: GracePeriod<F>) async throws -> Bool {
  for _ in 0..<20_000 where !gracePeriod.isElapsed { try await Task.sleep(for: .milliseconds(1)) }
  return gracePeriod.isElapsed
}

/// The kernel's id of the calling thread.
func currentThread() -> Int32 {
  var link = [CChar](repeating: 0, count: 64)
  let length = readlink("/proc/thread-self", &link, link.count)
  return Int32(
    String(decoding: link.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: "/")
      .last!)!
}

/// The message of the trap that ended a process: the whole line after "Fatal error: ".
func trap(_ result: ExitTest.Result?) -> String? {
  let output = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
  for line in output.split(separator: "\n") {
    if let found = line.firstRange(of: "Fatal error: ") { return String(line[found.upperBound...]) }
  }
  return nil
}

/// A number that threads change atomically.
final class Count: Sendable {
  private let number = Atomic(0)

  var value: Int { number.load(ordering: .sequentiallyConsistent) }

  func add(_ difference: Int = 1) { number.add(difference, ordering: .sequentiallyConsistent) }
}
