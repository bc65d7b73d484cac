import Foundation
import Testing

/// Runs `body` on a thread of its own: what blocks there keeps no other test from running. It is
/// still the test's task, to which what fails there is attributed.
func onThread<Result: Sendable>(
  _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
  try await withTaskExecutorPreference(ThreadExecutor()) { try body() }
}

/// Runs every job on a new thread.
private final class ThreadExecutor: TaskExecutor {
  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    Thread(block: { job.runSynchronously(on: self.asUnownedTaskExecutor()) }).start()
  }
}

/// Blocks until `condition` holds. Fails the test when that takes so long that it will not happen.
func eventually(
  _ what: Comment, sourceLocation: SourceLocation = #_sourceLocation, _ condition: () throws -> Bool
) throws {
  let deadline = ContinuousClock.now + .seconds(60)
  while try !condition() {
    if ContinuousClock.now > deadline {
      Issue.record("never happened: \(what)", sourceLocation: sourceLocation)
      throw NeverHappened()
    }
    Thread.sleep(forTimeInterval: 0.002)
  }
}

/// A condition that did not come true.
struct NeverHappened: Error {}

/// A directory that goes away with the test.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    var template = Array("/tmp/quiesce-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  func write(_ content: String, to name: String) throws {
    try Data(content.utf8).write(to: URL(fileURLWithPath: file(name)))
  }

  func read(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: file(name))), as: UTF8.self)
  }
}
