internal import Testing

extension ExitTest.Result? {
  /// What the process wrote to standard error. The exit test must observe `\.standardErrorContent`.
  package var errorOutput: String { String(decoding: self?.standardErrorContent ?? [], as: UTF8.self) }

  /// The message of the trap that ended the process: the whole line after "Fatal error: ". Nil if
  /// the process printed no such line.
  package var trap: String? {
    for line in errorOutput.split(separator: "\n") {
      if let found = line.firstRange(of: "Fatal error: ") { return String(line[found.upperBound...]) }
    }
    return nil
  }
}
