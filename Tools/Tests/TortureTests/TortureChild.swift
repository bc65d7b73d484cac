import Foundation
import Synchronization
import Torture

/// The built `quiesce torture` as a child process.
final class TortureChild: Sendable {
  struct Outcome {
    let status: Int32
    let output: String
    let error: String

    var lines: [Substring] { output.split(separator: "\n") }

    /// The last line.
    func summary() throws -> TortureSummary {
      try JSONDecoder().decode(TortureSummary.self, from: Data((lines.last ?? "").utf8))
    }
  }

  private let process: Mutex<Process>
  private let directory: URL
  private let ended: AsyncStream<Void>

  /// Beside the test bundle.
  private static let quiesce: URL = {
    let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("quiesce")
  }()

  /// Starts the program. Its output goes to files, so that it never waits for a reader.
  init(_ arguments: [String]) throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent("torture-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
    for name in ["out", "err"] {
      _ = FileManager.default.createFile(atPath: directory.appendingPathComponent(name).path, contents: nil)
    }
    let (ended, continuation) = AsyncStream.makeStream(of: Void.self)
    self.ended = ended
    let process = Process()
    process.executableURL = Self.quiesce
    process.arguments = ["torture"] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: directory.appendingPathComponent("out"))
    process.standardError = try FileHandle(forWritingTo: directory.appendingPathComponent("err"))
    process.terminationHandler = { _ in continuation.finish() }
    try process.run()
    self.process = Mutex(process)
  }

  deinit {
    process.withLock { process in
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }
    try? FileManager.default.removeItem(at: directory)
  }

  var output: String { text("out") }

  private func text(_ name: String) -> String {
    (try? String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)) ?? ""
  }

  func interrupt() { process.withLock { _ = kill($0.processIdentifier, SIGINT) } }

  /// Suspends until the program has ended. Call this once.
  func outcome() async -> Outcome {
    for await _ in ended {}
    let status = process.withLock { process in
      process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    }
    return Outcome(status: status, output: output, error: text("err"))
  }

  /// Runs the program to its end.
  static func run(_ arguments: String...) async throws -> Outcome {
    try await TortureChild(arguments).outcome()
  }
}
