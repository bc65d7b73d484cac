internal import Glibc

/// What whoever runs the host says about its modules, beside what they say themselves: as a modprobe.d has it.
///
/// A plain value: `quiesce host --configuration` reads it from files.
///
/// Source: modprobe.d(5).
public struct ModuleConfiguration: Hashable, Sendable {
  /// What is said about one module.
  public struct Rules: Hashable, Sendable {
    /// Its own aliases are ignored: it is loaded by its name, or because another one needs it, and never by chance.
    public var isBlacklisted = false
    /// More aliases, also for one that is blacklisted.
    public var aliases: [String] = []
    /// What its parameters hold, asked for or needed by another one; what a request says comes before it.
    public var options: [String: String] = [:]
    /// Modules that are wanted before it, if there are any such.
    public var softBefore: [String] = []
    /// Modules that are wanted after it, if there are any such.
    public var softAfter: [String] = []
    /// False: no request loads it, not even for others that depend on it.
    public var mayBeLoaded = true
    /// False: ``ModuleManager/unloadWithUnused(_:ifBusy:within:)`` leaves it.
    public var mayBeUnloaded = true

    /// As if nothing were said.
    public init() {}
  }

  private var rules: [String: Rules] = [:]

  /// Says nothing.
  public init() {}

  /// By name; `-` and `_` are the same.
  public subscript(module: String) -> Rules {
    get { rules[ModuleIndex.key(module)] ?? Rules() }
    set { rules[ModuleIndex.key(module)] = newValue }
  }

  /// The modules that something is said about, sorted.
  public var modules: [String] { rules.filter { $0.value != Rules() }.map(\.key).sorted() }
}

/// Whether a module can be called so: letters, digits, `_`, `-` and `.`, 1 to 64 of them.
public func isModuleName(_ name: String) -> Bool { Image.isName(name) }

extension ModuleIndex {
  /// The index as `configuration` changes it.
  func configured(by configuration: ModuleConfiguration) -> ModuleIndex {
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

extension ModuleManager {
  /// From here on requests follow `configuration`. Those that are under way may follow the old one.
  public func configure(_ configuration: ModuleConfiguration) {
    withState { $0.configuration = configuration }
  }

  /// What requests follow now.
  public var configuration: ModuleConfiguration { withState { $0.configuration } }

  /// Throws `EPERM` when the configuration forbids to load one of them.
  func checkRules(_ order: [ModuleIndex.Entry], required: Set<String>) throws(ModuleError) {
    let configuration = configuration
    for entry in order where !configuration[entry.name].mayBeLoaded && required.contains(entry.name) {
      if liveModule(entry.name) == nil { throw Self.forbidden(entry.name, "load") }
    }
  }

  static func forbidden(_ name: String, _ what: String) -> ModuleError {
    ModuleError(name, EPERM, "the configuration forbids to \(what) it")
  }
}
