internal import _QuiescenceShims

/// Error numbers of the operating system, as people read them.
package enum ErrorNumber {
  /// "ENOENT" for 2; "errno 4711" for a number that has no name.
  package static func name(_ error: Int32) -> String {
    qs_errno_name(error).map { String(cString: $0) } ?? "errno \(error)"
  }
}
