import Foundation
import Testing

/// A sample module, built as a user would build it. Each test has a copy of its own, since a
/// process maps a file only once.
final class SampleModule: Sendable {
  let path: String

  private static let directory: Result<String, any Error> = Result { try build() }

  /// Blocks while the modules are built for the first time.
  init(_ name: String) throws {
    let directory = try Self.directory.get()
    path = "\(directory)/\(name)-\(UUID().uuidString).so"
    try FileManager.default.copyItem(atPath: "\(directory)/\(name).so", toPath: path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  private static func build() throws -> String {
    let tools = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    // Beside the test's executable: tests may write only to the build directory.
    let output = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
      .appending(path: "sample-modules").path
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = [tools.appending(path: "Modules/build.sh").path, output]
    try process.run()
    process.waitUntilExit()
    // Not `#require`, which would report to the first test only.
    if process.terminationStatus != 0 { throw BuildFailure(status: process.terminationStatus) }
    return output
  }
}

private struct BuildFailure: Error {
  let status: Int32
}
