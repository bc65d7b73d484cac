/// A module of a running host, as `lsmod` lists it.
public struct ModuleRow: Codable, Sendable, Hashable {
  /// A holder that keeps the module loaded, and how often.
  public struct Holder: Codable, Sendable, Hashable {
    /// The holder, in words.
    public let label: String
    /// How many uses.
    public let count: Int

    /// A holder of so many uses.
    public init(label: String, count: Int) {
      self.label = label
      self.count = count
    }
  }

  /// The name that the module gave itself.
  public let module: String
  /// `coming`, `live`, `going`, `cleanup` and so on.
  public let state: String
  /// What it is inside or waits for, and since when, in words: `exit has not returned for 12 s,
  /// thread 4711`.
  public let activity: String?
  /// Bytes that are mapped for its image.
  public let size: Int
  /// About how many uses there are.
  public let users: Int
  /// The same, by holder.
  public let holders: [Holder]
  /// How long it has been in its state.
  public let ageSeconds: Double
  /// The file it was loaded from.
  public let path: String
  /// Why its code will stay mapped after it is unloaded, as its file shows; nil if it will not.
  public let residentReason: String?
  /// The version that it gave itself.
  public let version: String?
  /// Its one line about itself.
  public let summary: String?
  /// The hook points that it is on.
  public let hookPoints: [String]
  /// The objects that it publishes.
  public let objects: [String]
  /// The modules that it needs.
  public let dependsOn: [String]
  /// The modules that need it.
  public let dependents: [String]

  /// For services that stand in for a host.
  public init(
    module: String, state: String, activity: String? = nil, size: Int, users: Int, holders: [Holder] = [],
    ageSeconds: Double, path: String, residentReason: String? = nil, version: String? = nil,
    summary: String? = nil, hookPoints: [String] = [], objects: [String] = [], dependsOn: [String] = [],
    dependents: [String] = []
  ) {
    self.module = module
    self.state = state
    self.activity = activity
    self.size = size
    self.users = users
    self.holders = holders
    self.ageSeconds = ageSeconds
    self.path = path
    self.residentReason = residentReason
    self.version = version
    self.summary = summary
    self.hookPoints = hookPoints
    self.objects = objects
    self.dependsOn = dependsOn
    self.dependents = dependents
  }
}
