import Foundation

/// What a command that runs for a while prints: lines for people with a live line on a terminal, or
/// JSON objects.
package struct RunOutput: Sendable {
  /// Whether it prints JSON.
  package let isJSON: Bool
  private let isLive: Bool

  package init(isJSON: Bool) {
    self.isJSON = isJSON
    let terminal = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
    isLive = !isJSON && isatty(STDOUT_FILENO) == 1 && terminal != "dumb"
  }

  /// An object, on a line.
  package func json(_ value: some Encodable) {
    // Numbers, strings and arrays of them: there is nothing that JSON could not say.
    if let line = try? JSON.line(value) { StandardOutput.write(line) }
  }

  /// In place of the last live line, where standard output is a terminal.
  package func live(_ line: String) {
    if isLive { StandardOutput.write(bytes: Array("\r\u{1b}[K\(line)".utf8)) }
  }

  /// Takes the live line away, if there is one.
  package func endLive() { live("") }
}

/// 1234567 as 1,234,567.
package func grouped(_ number: Int) -> String {
  var text = ""
  for (index, digit) in String(number).reversed().enumerated() {
    if index > 0 && index % 3 == 0 && digit != "-" { text.append(",") }
    text.append(digit)
  }
  return String(text.reversed())
}
