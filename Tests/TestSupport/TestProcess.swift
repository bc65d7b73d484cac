import Foundation

/// Runs tests of this executable in a process with additional environment variables.
package enum TestProcess {
  package static func run(
    _ variables: [String: String], _ arguments: String...
  ) async -> (status: Int32, output: String) {
    await onThread {
      let process = Process()
      process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      // On some platforms the test helper takes the bundle as an argument.
      let bundle = ["--test-bundle-path", CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? ""]
      let isHelper = process.executableURL?.pathExtension != "xctest"
      process.arguments = (isHelper ? bundle : []) + ["--testing-library", "swift-testing"] + arguments
      // Without backtraces of processes that must trap.
      process.environment = ProcessInfo.processInfo.environment
        .merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(variables) { $1 }
      let output = Pipe()
      process.standardOutput = output
      process.standardError = output
      do { try process.run() } catch { return (-1, "\(error)") }
      let text = output.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return (process.terminationStatus, String(decoding: text, as: UTF8.self))
    }
  }
}
