/// Rules for modules from the operator of the host, beside what the modules' files say: as
/// modprobe.d has them.
///
/// A plain value: `quiesce host --configuration` reads it from files.
///
/// Source: modprobe.d(5).
public struct ModuleConfiguration: Hashable, Sendable {
  /// What is said about one module.
  public struct Rules: Hashable, Sendable {
    /// Its own aliases are ignored: it is loaded by its name, or because another one needs it, and
    /// never by chance.
    public var isBlacklisted = false
    /// More aliases, also for one that is blacklisted.
    public var aliases: [String] = []
    /// What its parameters hold, asked for or needed by another one; what a request says comes
    /// before it.
    public var options: [String: String] = [:]
    /// Modules that are wanted before it, if there are any such.
    public var softBefore: [String] = []
    /// Modules that are wanted after it, if there are any such.
    public var softAfter: [String] = []
    /// False: no request loads it, not even for others that depend on it.
    public var mayBeLoaded = true
    /// False: `ModuleManager.unloadWithUnused` leaves it loaded.
    public var mayBeUnloaded = true

    /// As if nothing were said.
    public init() {}
  }

  private var rules: [String: Rules] = [:]

  /// Says nothing.
  public init() {}

  /// By name; `-` and `_` are the same.
  public subscript(module: String) -> Rules {
    get { rules[ModuleName.key(module)] ?? Rules() }
    set { rules[ModuleName.key(module)] = newValue }
  }

  /// The modules that something is said about, sorted.
  public var modules: [String] { rules.filter { $0.value != Rules() }.map(\.key).sorted() }
}

extension ModuleIndex {
  /// The index as `configuration` changes it.
  package func configured(by configuration: ModuleConfiguration) -> ModuleIndex {
    ModuleIndex(
      directory: directory,
      entries: entries.map { entry in
        let rules = configuration[entry.name]
        return Entry(
          name: entry.name, file: entry.file, stamp: entry.stamp, depends: entry.depends,
          softBefore: entry.softBefore + rules.softBefore, softAfter: entry.softAfter + rules.softAfter,
          aliases: (rules.isBlacklisted ? [] : entry.aliases) + rules.aliases)
      }, skipped: skipped)
  }
}
