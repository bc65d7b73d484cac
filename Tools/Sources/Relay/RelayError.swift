internal import ModuleManager

/// Why an address, a relay or a socket cannot be used: one line, and the error number.
public struct RelayError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What the request was about, such as an address.
  public let subject: String
  /// The error number, as in `errno(3)`.
  public let errno: Int32
  /// What is wrong, without the subject and the number.
  public let reason: String

  package init(_ subject: String, _ errno: Int32, _ reason: String) {
    self.subject = subject
    self.errno = errno
    self.reason = reason
  }

  /// One line: what, why, and the number's name.
  public var description: String { "\(subject): \(reason) (\(errnoName(errno)))" }
}
