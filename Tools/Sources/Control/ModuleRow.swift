import ModuleManager

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
    module: String, state: String, size: Int, users: Int, holders: [Holder] = [],
    ageSeconds: Double, path: String, version: String? = nil, summary: String? = nil,
    hookPoints: [String] = [], objects: [String] = [], dependsOn: [String] = [],
    dependents: [String] = []
  ) {
    self.module = module
    self.state = state
    self.size = size
    self.users = users
    self.holders = holders
    self.ageSeconds = ageSeconds
    self.path = path
    self.version = version
    self.summary = summary
    self.hookPoints = hookPoints
    self.objects = objects
    self.dependsOn = dependsOn
    self.dependents = dependents
  }

  private enum CodingKeys: String, CodingKey {
    case module, state, size, users, holders, path, version, summary, objects, dependents
    case ageSeconds = "age_seconds"
    case hookPoints = "hook_points"
    case dependsOn = "depends_on"
  }
}

extension ModuleRow {
  /// What the manager knows of the module.
  public init(_ status: ModuleStatus) {
    self.init(
      module: status.name, state: status.state.rawValue, size: status.size, users: status.users,
      holders: status.holders.map { Holder(label: $0.label, count: $0.count) },
      ageSeconds: status.age / .seconds(1), path: status.path, version: status.version,
      summary: status.summary, hookPoints: status.hookPoints, objects: status.objects,
      dependsOn: status.dependsOn, dependents: status.dependents)
  }
}
