internal import _QuiescenceShims

/// The names of the operating system's error numbers.
package enum ErrorNumber {
  /// The name, such as "ENOENT" for 2; "errno 4711" for a number without a name.
  package static func name(_ error: Int32) -> String {
    qs_errno_name(error).map { String(cString: $0) } ?? "errno \(error)"
  }
}
