import Foundation
import ModuleFiles
import ModuleManager

/// Why a request, or the connection itself, failed: one line and an errno.
public struct ControlError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The errno, positive.
  public let errno: Int32

  /// What failed and why, on one line, without the errno's name.
  public let message: String

  /// For example `EBUSY`.
  public let errnoName: String

  /// Control characters in `message` are escaped: parts of it come from clients and modules.
  /// `EAGAIN` has another name.
  public init(_ errno: Int32, _ message: String, isWouldBlock: Bool = false) {
    self.errno = errno
    self.message = message.onOneLine
    errnoName = isWouldBlock ? Self.wouldBlock : nameOfError(errno)
  }

  private static let wouldBlock = "EWOULDBLOCK"

  /// For example `nosuch: no such module in ./modules (ENOENT)`.
  public var description: String { "\(message) (\(errnoName))" }
}

/// Inside the type its own property hides the manager's function, whose module is hidden by a
/// class.
private func nameOfError(_ code: Int32) -> String { errnoName(code) }

extension ControlError {
  /// What is wrong with a module's file.
  public init(_ error: ModuleFileError) { self.init(error.errno, "\(error.subject): \(error.reason)") }

  /// A refusal that arrived by name. A name that this system does not know becomes `EIO`.
  package init(named name: String, _ message: String) {
    if name == Self.wouldBlock {
      self.init(EWOULDBLOCK, message, isWouldBlock: true)
    } else {
      self.init((1..<Int32(200)).first { nameOfError($0) == name } ?? EIO, message)
    }
  }
}

extension String {
  /// The string with its control characters escaped, so that it stays one line of a terminal.
  ///
  /// - Complexity: O(length).
  public var onOneLine: String {
    if !unicodeScalars.contains(where: \.isControl) { return self }
    return unicodeScalars.reduce(into: "") { line, scalar in
      line += scalar.isControl ? scalar.escaped(asASCII: true) : String(scalar)
    }
  }
}

extension Unicode.Scalar {
  /// C0, DEL and C1, and the two separators that end a line.
  fileprivate var isControl: Bool {
    properties.generalCategory == .control || value == 0x2028 || value == 0x2029
  }
}
