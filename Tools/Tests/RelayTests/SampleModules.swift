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

  static let tools = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  // Beside the test's executable: tests may write only to the build directory.
  private static let output = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appending(path: "sample-modules")

  private static func build() throws -> String {
    try build([])
    return output.path
  }

  /// Builds a module in Swift from the text of its files. Returns the path of the image.
  static func build(_ name: String, swift: String, c: String, header: String? = nil) throws -> String {
    let folder = output.appending(path: "sources/\(name)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for (text, ending) in [(swift, "swift"), (c, "c"), (header, "h")] {
      try text?.write(to: folder.appending(path: "\(name).\(ending)"), atomically: true, encoding: .utf8)
    }
    try build([folder.path])
    return output.appending(path: "\(name).so").path
  }

  private static func build(_ folders: [String]) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/sh")
    process.arguments = [tools.appending(path: "Modules/build.sh").path, output.path] + folders
    try process.run()
    process.waitUntilExit()
    // Not `#require`, which would report to the first test only.
    if process.terminationStatus != 0 { throw BuildFailure(status: process.terminationStatus) }
  }
}

private struct BuildFailure: Error {
  let status: Int32
}
