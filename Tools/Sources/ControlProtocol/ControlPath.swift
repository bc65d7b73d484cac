/// Limits of a control socket's path.
package enum ControlPath {
  /// What `sun_path` holds, without its zero.
  package static let longest = 107
}
