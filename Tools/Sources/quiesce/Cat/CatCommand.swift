import ArgumentParser
import ControlClient
import ControlProtocol
import Foundation
import ToolSupport

/// `quiesce cat`
struct CatCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cat",
    abstract: "Print a named object that a module of a running host publishes.",
    discussion: """
      An open object keeps its module loaded: with --hold, rmmod answers EBUSY until this command ends, and rmmod --wait \
      waits for it.

      Example:
        quiesce cat --hold conntrack
      """)

  @Argument(help: "The object's name; lsmod --format json lists them.")
  var object: String

  @Flag(help: "Keep the object open until Ctrl-C, or until standard input ends if there is one.")
  var hold = false

  @OptionGroup var options: ControlOptions

  func run() throws {
    try reporting {
      let client = try options.connect()
      let open = try client.open(object)
      var offset: UInt64 = 0
      while true {
        let bytes = try client.read(open, from: offset)
        if bytes.isEmpty { break }
        StandardOutput.write(bytes: bytes)
        offset += UInt64(bytes.count)
      }
      if hold { try waitForInputToEnd(client) }
      try client.close(open)
    }
  }

  private func waitForInputToEnd(_ client: ControlClient) throws(ControlError) {
    var byte: UInt8 = 0
    while true {
      if !client.wait(for: hasInput ? STDIN_FILENO : -1) {
        throw ControlError(ECONNRESET, "\(object): the host closed the connection")
      }
      let count = read(STDIN_FILENO, &byte, 1)
      if count == 0 || count < 0 && errno != EINTR { return }
    }
  }

  /// A shell gives its background jobs the null device, which is always at its end and means
  /// nothing by it.
  private var hasInput: Bool {
    var input = stat()
    var null = stat()
    if fstat(STDIN_FILENO, &input) != 0 { return false }
    return stat("/dev/null", &null) != 0 || input.st_rdev != null.st_rdev
      || input.st_mode & S_IFMT != S_IFCHR
  }
}
