/// A module that has gone, as `lsmod --unloaded` lists it.
public struct UnloadedRow: Codable, Sendable, Hashable {
  /// The name that the module gave itself.
  public let module: String
  /// The version that it gave itself.
  public let version: String?
  /// The file it was loaded from.
  public let path: String
  /// `unloaded`, `forced`, `failed` and so on.
  public let end: String
  /// How long ago.
  public let ageSeconds: Double

  /// For services that stand in for a host.
  public init(module: String, version: String? = nil, path: String, end: String, ageSeconds: Double) {
    self.module = module
    self.version = version
    self.path = path
    self.end = end
    self.ageSeconds = ageSeconds
  }
}
