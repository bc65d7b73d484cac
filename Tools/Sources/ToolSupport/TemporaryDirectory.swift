import ControlProtocol
import Foundation

/// A directory that only this user can open.
package struct TemporaryDirectory: Sendable {
  package let path: String

  package init(prefix: String) throws(ControlError) {
    let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    guard let template = strdup("\(parent)/\(prefix)-XXXXXX") else {
      throw ControlError(ENOMEM, "\(parent): no temporary directory")
    }
    defer { free(template) }
    if mkdtemp(template) == nil { throw ControlError(errno, "\(parent): no temporary directory") }
    path = String(cString: template)
  }

  /// Removes it and what is in it. Any thread; the second call does nothing.
  package func remove() {
    try? FileManager.default.removeItem(atPath: path)
  }
}
