import ControlProtocol
import Foundation
import ModuleFiles
import TOMLKit

/// The rules for a host's modules, from the files `*.toml` of a directory, in the order of their
/// names:
///
/// ```toml
/// blacklist = ["conntrack"]      # its own aliases are ignored
///
/// [alias]
/// "net-flow-*" = "counter"       # or a list of modules
///
/// [options.counter]              # what its parameters hold
/// limit = 64
///
/// [softdep.counter]              # wanted before and after it
/// before = ["log"]
/// after = ["statistics"]
///
/// [install]                      # never loaded by a request
/// debugger = false
///
/// [remove]                       # never unloaded by modprobe --remove
/// counter = false
/// ```
///
/// Of two files that say something about the same alias, option or rule the later one counts;
/// blacklists and soft dependencies add up.
struct ConfigurationDirectory {
  let configuration: ModuleConfiguration

  /// - Throws: what the file system says; `EINVAL` with file, line and column for what is no TOML,
  ///   and with the key for what means nothing.
  init(path: String) throws(ControlError) {
    var configuration = ModuleConfiguration()
    /// The owner of each alias, so that a later file can take it away.
    var aliases: [String: [String]] = [:]
    for file in try Self.files(path) {
      try ConfigurationFile(path: file).apply(to: &configuration, &aliases)
    }
    for (alias, modules) in aliases.sorted(by: { $0.key < $1.key }) {
      for module in modules { configuration[module].aliases.append(alias) }
    }
    self.configuration = configuration
  }

  private static func files(_ path: String) throws(ControlError) -> [String] {
    guard let stream = opendir(path) else {
      let code = errno
      throw ControlError(code, "\(path): cannot read the configuration directory")
    }
    closedir(stream)
    // Never as if it were empty: the rules would be gone.
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else {
      throw ControlError(EIO, "\(path): cannot read the configuration directory")
    }
    return names.filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }.sorted().map { "\(path)/\($0)" }
  }
}

/// One file of it.
private struct ConfigurationFile {
  let path: String
  private let table: TOMLTable

  init(path: String) throws(ControlError) {
    self.path = path
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ControlError(EIO, "\(path): cannot be read")
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw ControlError(EINVAL, "\(path): is not UTF-8")
    }
    do { table = try TOMLTable(string: text) } catch let error as TOMLParseError {
      let place = error.source.begin
      throw ControlError(EINVAL, "\(path):\(place.line):\(place.column): \(error.description)")
    } catch {
      throw ControlError(EINVAL, "\(path): \(error)")
    }
  }

  func apply(
    to configuration: inout ModuleConfiguration, _ aliases: inout [String: [String]]
  ) throws(ControlError) {
    for key in table.keys.sorted() {
      guard let value = table[key] else { continue }
      switch key {
      case "blacklist": for name in try names(value, key) { configuration[name].isBlacklisted = true }
      case "alias":
        for (alias, modules) in try entries(value, key) {
          try check(alias: alias, key)
          aliases[alias] = try names(modules, "alias.\(alias)")
        }
      case "options":
        for (module, options) in try entries(value, key) {
          for (option, value) in try entries(options, "options.\(module)") {
            try check(module, "options")
            configuration[module].options[option] = try text(value, "options.\(module).\(option)")
          }
        }
      case "softdep": try softDependencies(value, &configuration)
      case "install":
        for (module, rule) in try entries(value, key) {
          configuration[module].mayBeLoaded = try flag(rule, module, key)
        }
      case "remove":
        for (module, rule) in try entries(value, key) {
          configuration[module].mayBeUnloaded = try flag(rule, module, key)
        }
      default: throw wrong(key, "is no key: blacklist, alias, options, softdep, install or remove")
      }
    }
  }

  private func softDependencies(
    _ value: any TOMLValueConvertible, _ configuration: inout ModuleConfiguration
  ) throws(ControlError) {
    for (module, lists) in try entries(value, "softdep") {
      try check(module, "softdep")
      for (when, list) in try entries(lists, "softdep.\(module)") {
        let names = try aliases(list, "softdep.\(module).\(when)")
        switch when {
        case "before": configuration[module].softBefore += names
        case "after": configuration[module].softAfter += names
        default: throw wrong("softdep.\(module).\(when)", "is no key: before or after")
        }
      }
    }
  }

  private func entries(
    _ value: any TOMLValueConvertible, _ key: String
  ) throws(ControlError) -> [(String, any TOMLValueConvertible)] {
    guard let table = value.table else { throw wrong(key, "is not a table") }
    return table.keys.sorted().compactMap { name in table[name].map { (name, $0) } }
  }

  /// One or several.
  private func names(_ value: any TOMLValueConvertible, _ key: String) throws(ControlError) -> [String] {
    let names = try strings(value, key)
    for name in names { try check(name, key) }
    return names
  }

  /// One or several names or aliases.
  private func aliases(_ value: any TOMLValueConvertible, _ key: String) throws(ControlError) -> [String] {
    let aliases = try strings(value, key)
    for alias in aliases { try check(alias: alias, key) }
    return aliases
  }

  private func strings(_ value: any TOMLValueConvertible, _ key: String) throws(ControlError) -> [String] {
    if let name = value.string { return [name] }
    guard let array = value.array else { throw wrong(key, "is neither a module nor a list of modules") }
    var names: [String] = []
    for element in array {
      guard let name = element.string else { throw wrong(key, "is not a list of modules") }
      names.append(name)
    }
    return names
  }

  private func check(alias: String, _ key: String) throws(ControlError) {
    if alias.isEmpty || alias.contains(where: \.isWhitespace) {
      throw wrong(key, "'\(alias)' is empty or has spaces in it")
    }
  }

  private func check(_ name: String, _ key: String) throws(ControlError) {
    if !ModuleName.isValid(name) { throw wrong(key, "'\(name)' is no module's name") }
  }

  private func flag(
    _ value: any TOMLValueConvertible, _ module: String, _ key: String
  ) throws(ControlError) -> Bool {
    try check(module, key)
    guard let flag = value.bool else { throw wrong("\(key).\(module)", "is neither true nor false") }
    return flag
  }

  /// As on a command line.
  private func text(_ value: any TOMLValueConvertible, _ key: String) throws(ControlError) -> String {
    if let text = value.string { return text }
    if let flag = value.bool { return flag ? "yes" : "no" }
    if let number = value.int { return String(number) }
    guard let array = value.array else {
      throw wrong(key, "is no string, integer, boolean or list of them")
    }
    var words: [String] = []
    for element in array {
      if element.array != nil { throw wrong(key, "is a list of lists") }
      words.append(try text(element, key))
    }
    return words.joined(separator: ",")
  }

  private func wrong(_ key: String, _ reason: String) -> ControlError {
    ControlError(EINVAL, "\(path): \(key): \(reason)")
  }
}
