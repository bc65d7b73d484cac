internal import Quiescence

/// Why a module's file, an index or a module directory could not be read, written or locked: one
/// line, and the error number that the kernel gives for the same case.
public struct ModuleFileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The path or the module's name that the call was about.
  public let subject: String
  /// The error number, as in `errno(3)`.
  public let errno: Int32
  /// What is wrong, without the subject and the number.
  public let reason: String

  /// For callers that find a further fault in what they have read.
  public init(_ subject: String, _ errno: Int32, _ reason: String) {
    self.subject = subject
    self.errno = errno
    self.reason = reason
  }

  /// The number's name, such as `ENOEXEC`.
  public var errnoName: String { ErrorNumber.name(errno) }

  /// One line: what, why, and the number's name.
  public var description: String { "\(subject): \(reason) (\(errnoName))" }
}
