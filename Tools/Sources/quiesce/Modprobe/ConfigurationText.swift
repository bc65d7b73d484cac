import ControlProtocol
import TOMLKit

/// A host's configuration as one file of it would have it: see ``ConfigurationDirectory``.
struct ConfigurationText {
  /// Empty when nothing is said.
  let text: String

  init(_ rules: [ModuleRules]) {
    let table = TOMLTable()
    let blacklist = rules.filter(\.isBlacklisted).map(\.module)
    if !blacklist.isEmpty { table["blacklist"] = TOMLArray(blacklist) }
    var modules: [String: [String]] = [:]
    for rule in rules { for alias in rule.aliases { modules[alias, default: []].append(rule.module) } }
    Self.add("alias", modules.mapValues { TOMLArray($0) }, to: table)
    let options = rules.filter { !$0.options.isEmpty }.map { rule in
      (rule.module, Self.table(rule.options.mapValues { $0 as any TOMLValueConvertible }))
    }
    Self.add("options", Dictionary(uniqueKeysWithValues: options), to: table)
    let soft = rules.filter { !$0.softBefore.isEmpty || !$0.softAfter.isEmpty }.map { rule in
      var both: [String: any TOMLValueConvertible] = [:]
      if !rule.softBefore.isEmpty { both["before"] = TOMLArray(rule.softBefore) }
      if !rule.softAfter.isEmpty { both["after"] = TOMLArray(rule.softAfter) }
      return (rule.module, Self.table(both))
    }
    Self.add("softdep", Dictionary(uniqueKeysWithValues: soft), to: table)
    Self.add("install", Self.forbidden(rules, \.mayBeLoaded), to: table)
    Self.add("remove", Self.forbidden(rules, \.mayBeUnloaded), to: table)
    text = table.isEmpty ? "" : table.convert(to: .toml) + "\n"
  }

  private static func forbidden(_ rules: [ModuleRules], _ isAllowed: KeyPath<ModuleRules, Bool>) -> [String:
    Bool]
  {
    Dictionary(uniqueKeysWithValues: rules.filter { !$0[keyPath: isAllowed] }.map { ($0.module, false) })
  }

  private static func table(_ entries: [String: any TOMLValueConvertible]) -> TOMLTable {
    let table = TOMLTable()
    for (key, value) in entries { table[key] = value }
    return table
  }

  private static func add(_ name: String, _ entries: [String: any TOMLValueConvertible], to table: TOMLTable)
  {
    if !entries.isEmpty { table[name] = Self.table(entries) }
  }
}
