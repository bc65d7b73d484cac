import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation

/// Where the host is, for every command that talks to one.
struct ControlOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The host's control socket (default: $XDG_RUNTIME_DIR/quiesce.sock, or /tmp/quiesce-UID.sock).",
      valueName: "path"))
  var control: String?

  var path: String { control ?? Self.defaultPath }

  func connect() throws(ControlError) -> ControlClient {
    try ControlClient(path: path)
  }

  /// For requests that change nothing: a socket that was named may belong to another user's host.
  func connectReadOnly() throws(ControlError) -> ControlClient {
    try ControlClient(path: path, ofAnyUser: control != nil)
  }

  static var defaultPath: String {
    if let directory = ProcessInfo.processInfo.environment["XDG_RUNTIME_DIR"], !directory.isEmpty {
      return "\(directory)/quiesce.sock"
    }
    return "/tmp/quiesce-\(geteuid()).sock"
  }
}

extension ParsableCommand {
  /// Runs `body`. What it throws becomes one line on standard error and the exit status 1.
  func reporting(_ body: () throws -> Void) throws {
    do {
      try body()
    } catch let code as ExitCode {
      throw code
    } catch {
      Hint.write(error, of: Self.configuration.commandName ?? "")
      throw ExitCode(1)
    }
  }
}
